"""The Starlette application: all routes, and the Hub's error answers."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

from mat_vis_hub.local_hub.model.errors import MergeConflict, RevisionNotFound
from mat_vis_hub.local_hub.web import errors, xet
from mat_vis_hub.local_hub.web.context import HubContext
from mat_vis_hub.local_hub.web.errors import GatewayTimeout, HubError
from mat_vis_hub.local_hub.web.routes import account, commits, discussions, lfs, reading, repos


def build_app(context: HubContext) -> Starlette:
    routes: list[Route] = []
    for topic in (account, repos, commits, discussions, reading, lfs):
        routes += topic.routes()
    routes += xet.routes(context.store)
    routes += repos.routes_without_namespace()
    handlers: dict[Any, Any] = dict.fromkeys([HubError, RevisionNotFound, MergeConflict], errors.answer)
    handlers |= {GatewayTimeout: errors.gateway_timeout, 404: errors.not_served, 405: errors.not_served}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    app.state.hub = context
    return app


def endpoints(app: Starlette) -> tuple[str, ...]:
    """Return the names of the routes, which faults and the recorder use."""
    return tuple(dict.fromkeys(route.name for route in app.routes if isinstance(route, Route)))
