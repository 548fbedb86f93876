"""The caller's account, and the validation of a README's metadata."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mat_vis_hub.local_hub.model.card import check_card
from mat_vis_hub.local_hub.web.caller import Caller
from mat_vis_hub.local_hub.web.errors import HubError
from mat_vis_hub.local_hub.web.requests import json_body, optional
from mat_vis_hub.local_hub.web.routing import route


def routes() -> list[Route]:
    return [
        route("GET", "/api/whoami-v2", "whoami", whoami),
        route("POST", "/api/validate-yaml", "validate-yaml", validate_yaml),
    ]


async def whoami(request: Request) -> Response:
    caller = Caller.of(request)
    if caller.anonymous:
        raise HubError(401, "Invalid username or password.")
    access = caller.context.access
    organizations = [{"type": "org", "name": owner, "fullname": owner} for owner in (access.owners or ())[1:]]
    token = {"type": "access_token", "accessToken": {"displayName": "local", "role": "write"}}
    return JSONResponse(
        {
            "type": "user",
            "id": access.user,
            "name": access.user,
            "fullname": access.user,
            "email": None,
            "isPro": False,
            "orgs": organizations,
            "auth": token,
        }
    )


async def validate_yaml(request: Request) -> Response:
    content = optional(await json_body(request), "content", str) or ""
    errors, warnings = await run_in_threadpool(check_card, content)
    body = {"errors": [{"message": error} for error in errors], "warnings": [{"message": text} for text in warnings]}
    return JSONResponse(body, 400 if errors else 200)
