"""What routes put into their answers: dates, and links to the next page."""

from __future__ import annotations

from datetime import datetime, timezone

from starlette.requests import Request


def iso(time: float) -> str:
    """Format seconds since the epoch as the Hub does: `2026-04-02T12:00:00.000Z`."""
    text = datetime.fromtimestamp(time, tz=timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def next_page(request: Request, **parameters: str | int) -> dict[str, str]:
    """Return the `Link` header to the next page, which is this request with other query parameters."""
    return {"Link": f'<{request.url.include_query_params(**parameters)}>; rel="next"'}
