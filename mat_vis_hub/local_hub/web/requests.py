"""What routes read from a request: repository, revision, JSON body, flags."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request

from mat_vis_hub.local_hub.messages import READ_ONLY
from mat_vis_hub.local_hub.model.repository import PULL_REQUEST, Repo
from mat_vis_hub.local_hub.web.caller import Caller
from mat_vis_hub.local_hub.web.errors import HubError
from mat_vis_hub.local_hub.web.routing import KINDS, repo_key


def require_kind(request: Request) -> None:
    """Raise 404 for jobs, buckets, papers and what else the Hub has besides repositories."""
    if request.path_params.get("kind", "models") not in KINDS:
        raise HTTPException(404)


def readable_repo(request: Request) -> tuple[Caller, Repo]:
    """Return the caller and the repository, which they may read."""
    caller = Caller.of(request)
    require_kind(request)
    return caller, caller.repo(*repo_key(request.scope))


def writable_repo(request: Request) -> tuple[Caller, Repo, str]:
    """Return the caller, the repository, which they may change, and the user's name."""
    caller, repo = readable_repo(request)
    refusal = f"You don't have the rights to change the {repo.type} {repo.id}"
    return caller, repo, caller.require_write(repo.namespace, refusal)


def committable_repo(request: Request, target: str | None, *, opens_pr: bool = False) -> tuple[Caller, Repo, str]:
    """As `writable_repo`, for a commit to `target`. Everyone who can read may propose a pull request."""
    caller, repo = readable_repo(request)
    if opens_pr or target is None or target.startswith(PULL_REQUEST):
        return caller, repo, caller.require_user()
    return caller, repo, caller.require_write(repo.namespace, READ_ONLY)


def revision(request: Request) -> str:
    return unquote(request.path_params.get("revision", "main"))


async def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that the request carries, `{}` without a body. Raises 400 for anything else."""
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise HubError(400, f"The request's body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise HubError(400, "The request's body is not a JSON object.")
    return body


def required(body: dict[str, Any], field: str) -> Any:
    if body.get(field) is None:
        raise HubError(400, f'"{field}" is required')
    return body[field]


def flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("1", "true")
