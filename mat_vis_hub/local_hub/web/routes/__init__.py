"""The endpoints, one module per topic. What they share is here: who calls, about which repository."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.routing import Route

from mat_vis_hub.local_hub.model.errors import HubError
from mat_vis_hub.local_hub.web.context import Caller as Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Scope

    from mat_vis_hub.local_hub.model.repos import Repo

API = "/api/{kind}/{namespace}/{name}"
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


def route(method: str, path: str, name: str, handler: Callable[..., Any]) -> Route:
    return Route(path, handler, methods=[method], name=name)


def web_routes(method: str, path: str, name: str, handler: Callable[..., Any]) -> list[Route]:
    """The same route for the three repository types, as they appear in web addresses."""
    prefixes = ("/datasets", "/spaces", "")  # a model's address has none, so it comes last
    return [route(method, prefix + "/{namespace}/{name}" + path, name, handler) for prefix in prefixes]


def repo_key(scope: Scope) -> tuple[str, str]:
    """Type and id of the repository that a path is about, which its route has matched already."""
    _, first, second, *_ = scope["path"].split("/")
    parameters = scope["path_params"]
    repo_type = KINDS.get(second if first == "api" else first, "model")
    return repo_type, unquote(f"{parameters['namespace']}/{parameters['name']}")


def require_kind(request: Request) -> None:
    if request.path_params.get("kind", "models") not in KINDS:
        raise HTTPException(404)  # jobs, buckets, papers: the Hub has more than this one


def readable_repo(request: Request) -> tuple[Caller, Repo]:
    caller = Caller.of(request)
    require_kind(request)
    return caller, caller.repo(*repo_key(request.scope))


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
