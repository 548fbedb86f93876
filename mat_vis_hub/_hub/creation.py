"""`create_repo(exist_ok=True)` while the quota of new repositories is spent: the Hub refuses it for any repository."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

from huggingface_hub import HfApi, constants

from mat_vis_hub.errors import WaitCancelled

_CONFLICT = 409  # what the Hub answers to the creation of a repository that exists, together with its address


def accepts_existing() -> bool:
    """
    Whether the `HfApi.create_repo` that runs in this thread was called with `exist_ok=True`.

    The request does not say so. The function may belong to any object, and may have been taken by another library
    before this package was imported.
    """
    code = inspect.unwrap(HfApi.create_repo).__code__
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is code:
            return bool(frame.f_locals.get("exist_ok"))
    return False


def existing(refused: Any, request: Any, api: HfApi) -> Any | None:
    """
    What the Hub would answer without the quota, if the repository exists.

    Args:
        refused (`requests.Response`, `httpx.Response` or `httpx2.Response`): The refusal, by the quota of creations.
        request (`requests.PreparedRequest`, `httpx.Request` or `httpx2.Request`): What was refused.
        api (`HfApi`): Looks for the repository.

    Returns:
        The response, of which `create_repo` reads the status and the address; `None` if there is no such repository, or
        if that cannot be told.
    """
    try:
        asked = json.loads(request.body if hasattr(request, "body") else request.content)
        owner = asked.get("organization") or api.whoami()["name"]
        repo_id, repo_type = f"{owner}/{asked['name']}", asked.get("type") or constants.REPO_TYPE_MODEL
        if not api.repo_exists(repo_id, repo_type=repo_type):
            return None
    except WaitCancelled:
        raise
    except Exception:
        return None
    url = f"{api.endpoint}/{constants.REPO_TYPES_URL_PREFIXES.get(repo_type, '')}{repo_id}"
    refused.status_code = _CONFLICT
    refused.json = lambda **options: {"url": url}
    return refused
