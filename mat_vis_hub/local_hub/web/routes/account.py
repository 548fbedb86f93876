"""The caller's account, and the validation of a README's metadata."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped]  # huggingface_hub depends on it
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

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
    errors: list[dict[str, str]] = []
    warnings: list[dict[str, str]] = []
    try:
        metadata = yaml.safe_load(_front_matter(content))
    except yaml.YAMLError as error:
        errors.append({"message": f"Invalid YAML in README.md: {error}"})
    else:
        if not metadata:
            warnings.append({"message": "empty or missing yaml metadata in repo card"})
        elif not isinstance(metadata, dict):
            errors.append({"message": "The metadata must be a mapping of names to values."})
    body: dict[str, Any] = {"errors": errors, "warnings": warnings}
    return JSONResponse(body, 400 if errors else 200)


def _front_matter(content: str) -> str:
    """Return what is between the first line, which is `---`, and the next such line."""
    first, *rest = content.lstrip("\ufeff").splitlines() or [""]
    if first.strip() != "---" or "---" not in [line.rstrip() for line in rest]:
        return ""
    return "\n".join(rest[: [line.rstrip() for line in rest].index("---")])
