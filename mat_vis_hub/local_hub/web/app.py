"""The Starlette application: the routes put together, errors rendered the way the Hub renders them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mat_vis_hub.local_hub.model.errors import HubError
from mat_vis_hub.local_hub.web import xet
from mat_vis_hub.local_hub.web.routes import account, commits, discussions, flag, lfs, reading, repos, revision

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from mat_vis_hub.local_hub.web.context import HubState


def build_app(state: HubState, base_url: Callable[[], str]) -> Starlette:
    routes: list[Route] = []
    for topic in (account, repos, commits, discussions, reading, lfs):
        routes += topic.routes()
    routes += [_guarded(route) if route.name == "xet-token" else route for route in xet.routes(state.store, base_url)]
    app = Starlette(routes=routes, exception_handlers={HubError: _hub_error, 404: _not_served, 405: _not_served})
    app.router.redirect_slashes = False
    app.state.hub = state
    return app


def _guarded(route: Route) -> Route:
    """A write token is for those who may commit."""

    def endpoint(request: Request) -> Response:
        commits.require_upload_right(request, revision(request), opens_pr=flag(request, "create_pr"))
        response: Response = route.endpoint(request)
        return response

    return Route(route.path, endpoint, name=route.name)


def _hub_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    # Header values are latin-1: what does not fit there is still in the body.
    message = error.message.encode("latin-1", "replace").decode("latin-1").replace("\n", " ")
    headers = {**error.headers}
    if error.status != 429:
        headers["X-Error-Message"] = message
    if error.code:
        headers["X-Error-Code"] = error.code
    return JSONResponse(error.body, error.status, headers)


def _not_served(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    path = request.scope["path"]
    return JSONResponse({"error": f"This local Hub does not serve {request.method} {path}"}, status)
