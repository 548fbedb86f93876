"""Routes, and which repository an address is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from starlette.routing import Route
from starlette.types import Scope

API = "/api/{kind}/{namespace}/{name}"
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


def route(method: str, path: str, name: str, handler: Callable[..., Any]) -> Route:
    """A route. Its name is the endpoint that `LocalHub.answer(on=...)` and the recorder know."""
    return Route(path, handler, methods=[method], name=name)


def web_routes(method: str, path: str, name: str, handler: Callable[..., Any]) -> list[Route]:
    """The same route for the three repository types, outside of `/api/`."""
    prefixes = ("/datasets", "/spaces", "")  # models come last, because their route matches the others, too
    return [route(method, prefix + "/{namespace}/{name}" + path, name, handler) for prefix in prefixes]


def repo_key(scope: Scope) -> tuple[str, str]:
    """Return type and id of the repository that a routed request is about."""
    _, first, second, *_ = scope["path"].split("/")
    parameters = scope["path_params"]
    repo_type = KINDS.get(second if first == "api" else first, "model")
    return repo_type, unquote(f"{parameters['namespace']}/{parameters['name']}")
