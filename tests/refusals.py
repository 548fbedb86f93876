"""Refusals to test with: the ones seen in the wild (`data/refusals.jsonl`), and a way to make more."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIVE_BODY = (
    "You have exceeded the rate limit for repository commits ({limit} per hour). You can retry this action in {wait}."
    " To reduce the number of commits, you can upload entire folders at once using the Hub Python library."
)


@dataclass(frozen=True)
class Response:
    """What the parser needs of a `requests` or `httpx` response."""

    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    status_code: int = 429


def commit_quota(wait: str, limit: int = 128, **headers: str) -> Response:
    """The Hub's refusal of a commit, with its misleading header about another quota."""
    misleading = {"RateLimit": '"api";r=949;t=271', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}
    return Response({**misleading, **headers}, json.dumps({"error": LIVE_BODY.format(limit=limit, wait=wait)}))


def in_the_wild() -> list[dict[str, Any]]:
    lines = (Path(__file__).parent / "data" / "refusals.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def as_response(record: dict[str, Any]) -> Response:
    return Response(record["headers"], record["body"], record["status"])
