"""What answers consist of: dates, links to the next page, and the id of the request."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope


def iso(time: float) -> str:
    """Format seconds since the epoch as the Hub does: `2026-04-02T12:00:00.000Z`."""
    text = datetime.fromtimestamp(time, tz=timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def next_page(request: Request, **parameters: str | int) -> dict[str, str]:
    """Return the `Link` header to the next page, which is this request with other query parameters."""
    return {"Link": f'<{request.url.include_query_params(**parameters)}>; rel="next"'}


def request_id(scope: Scope) -> str:
    """Return a new id of the Hub's own. The client's id follows it, if the client sent one."""
    headers = Headers(scope=scope)
    sent = headers.get("x-amzn-trace-id") or headers.get("x-request-id")
    return f"Root=1-{uuid.uuid4()};{sent}" if sent else f"Root=1-{uuid.uuid4()}"
