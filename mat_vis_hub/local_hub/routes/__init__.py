"""The endpoints, one module per topic. What they share is here: who calls, about which repository."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.routing import Route

from ..errors import HubError
from ..state import Caller as Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from ..repos import Repo

API = "/api/{kind}/{namespace}/{name}"
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
WEB_PREFIXES = {"": "model", "/datasets": "dataset", "/spaces": "space"}


def route(method: str, path: str, name: str, handler: Callable[..., Any]) -> Route:
    return Route(path, handler, methods=[method], name=name)


def web_routes(method: str, path: str, name: str, handler: Callable[..., Any]) -> list[Route]:
    """The same route for the three repository types, as they appear in web addresses."""
    return [route(method, prefix + "/{namespace}/{name}" + path, name, handler) for prefix in reversed(WEB_PREFIXES)]


def repo_key(request: Request) -> tuple[str, str]:
    """Type and id of the repository that the path is about."""
    parameters = request.path_params
    kind = parameters.get("kind")
    if kind is None:
        prefix = "/" + request.scope["path"].split("/")[1]
        repo_type = WEB_PREFIXES.get(prefix, "model")
    elif kind in KINDS:
        repo_type = KINDS[kind]
    else:
        raise HubError(404, f"There is no such kind of repository: {kind}")
    return repo_type, unquote(f"{parameters['namespace']}/{parameters['name']}")


def readable_repo(request: Request) -> tuple[Caller, Repo]:
    caller = Caller.of(request)
    return caller, caller.repo(*repo_key(request))


def writable_repo(request: Request, refusal: str | None = None) -> tuple[Caller, Repo, str]:
    """The caller, the repository and the user's name; 403 with the sentence `refusal` without the right."""
    caller, repo = readable_repo(request)
    denied = refusal or f"You don't have the rights to change the {repo.type} {repo.id}"
    return caller, repo, caller.require_write(repo.namespace, denied)


def revision(request: Request, default: str = "main") -> str:
    return unquote(request.path_params.get("revision", default))


async def json_body(request: Request) -> dict[str, Any]:
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


def iso(time: float) -> str:
    text = datetime.fromtimestamp(time, tz=timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("1", "true")


def next_page(request: Request, **parameters: str | int) -> dict[str, str]:
    """The `Link` header that leads to the next page."""
    return {"Link": f'<{request.url.include_query_params(**parameters)}>; rel="next"'}
