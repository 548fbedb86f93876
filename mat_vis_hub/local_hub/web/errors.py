"""The Hub's error answers: a status, a sentence, and an `X-Error-Code` that clients act on."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mat_vis_hub.local_hub.messages import GATEWAY_TIMEOUT
from mat_vis_hub.local_hub.model.errors import MergeConflict, RevisionNotFound
from mat_vis_hub.local_hub.web.exchange import Exchange


class HubError(Exception):
    """
    An error answer.

    Args:
        status (`int`):
            The HTTP status.
        message (`str`):
            The sentence for the body and, except for 429, for `X-Error-Message`.
        code (`str`, *optional*):
            `X-Error-Code`.
        headers (`dict`, *optional*):
            More headers.
        body (`dict`, *optional*):
            More fields of the JSON body.
        refused_by (`str`, *optional*):
            What refused the request, for the recorder.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        refused_by: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.body = {"error": message, **(body or {})}
        self.refused_by = refused_by


class GatewayTimeout(Exception):
    """The gateway in front of the Hub has given up on a request. The Hub may still carry it out."""


def repo_not_found(*, anonymous: bool) -> HubError:
    """The answer for a missing repository, and for a private one that the caller must not know of."""
    if anonymous:
        return HubError(401, "Invalid username or password.", "RepoNotFound")
    return HubError(404, "Repository not found", "RepoNotFound")


def entry_not_found(message: str = "Entry not found", *, commit: str | None = None) -> HubError:
    return HubError(404, message, "EntryNotFound", headers={"X-Repo-Commit": commit} if commit else None)


def answer(request: Request, error: Exception) -> Response:
    """Render an error: Starlette calls this for what a route raises."""
    if isinstance(error, RevisionNotFound):
        error = HubError(404, f"Invalid rev id: {error.revision}", "RevisionNotFound")
    elif isinstance(error, MergeConflict):
        error = HubError(409, f"This pull request has conflicts in: {', '.join(error.paths)}.")
    assert isinstance(error, HubError)
    if error.refused_by:
        Exchange.of(request.scope).refused_by = error.refused_by
    headers = {**error.headers}
    if error.status != 429:
        # Headers are latin-1 without control characters. The body has the characters that do not fit.
        message = error.message.encode("latin-1", "replace").decode("latin-1")
        headers["X-Error-Message"] = re.sub(r"[\x00-\x1f\x7f]", " ", message).strip()
    if error.code:
        headers["X-Error-Code"] = error.code
    return JSONResponse(error.body, error.status, headers)


def gateway_timeout(request: Request, error: Exception) -> Response:
    """The gateway's page. It is neither JSON, nor has it the Hub's headers."""
    Exchange.of(request.scope).from_gateway = True
    return Response(GATEWAY_TIMEOUT, 504, media_type="text/html")


def not_served(request: Request, error: Exception) -> Response:
    """The answer for a path or a method that this Hub does not have."""
    status = getattr(error, "status_code", 404)
    return JSONResponse({"error": f"This local Hub does not serve {request.method} {request.scope['path']}"}, status)
