"""What routes read from a request: repository, revision, JSON body, flags."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request

from mat_vis_hub.local_hub.messages import READ_ONLY
from mat_vis_hub.local_hub.model.repository import PULL_REQUEST, Repo
from mat_vis_hub.local_hub.web.caller import Caller
from mat_vis_hub.local_hub.web.errors import HubError
from mat_vis_hub.local_hub.web.routing import KINDS, repo_key

_T = TypeVar("_T")
_KINDS: dict[type, str] = {str: "a string", int: "a number", bool: "a boolean", list: "an array"}


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
        body = parse_json(await request.body() or b"{}")
    except ValueError as error:
        raise HubError(400, f"The request's body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise HubError(400, "The request's body is not a JSON object.")
    return body


def parse_json(content: bytes) -> Any:
    """Parse JSON. Raises `ValueError` also for what Python accepts but could not send back: NaN, lone surrogates."""
    text = content.decode()
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def optional(body: dict[str, Any], field: str, kind: type[_T]) -> _T | None:
    """Return a field of a JSON object, None if it is missing or null. Raises 400 if it is not of type `kind`."""
    value = body.get(field)
    if value is not None and type(value) is not kind:
        raise HubError(400, f'"{field}" must be {_KINDS[kind]}')
    return value


def required(body: dict[str, Any], field: str, kind: type[_T]) -> _T:
    """As `optional`, but raise 400 if the field is missing."""
    value = optional(body, field, kind)
    if value is None:
        raise HubError(400, f'"{field}" is required')
    return value


def required_objects(body: dict[str, Any], field: str) -> list[dict[str, Any]]:
    items = required(body, field, list)
    if not all(isinstance(item, dict) for item in items):
        raise HubError(400, f'"{field}" must be an array of objects')
    return items


def required_size(body: dict[str, Any], field: str = "size") -> int:
    size = required(body, field, int)
    if size < 0:
        raise HubError(400, f'"{field}" must be greater than or equal to 0')
    return size


def number(text: str, default: int) -> int:
    """Return the number in a path or a query, or `default` if there is none that makes sense."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else default


def flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("1", "true")
