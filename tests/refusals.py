"""Refusals to test with: samples of the Hub's (`data/hub_*.jsonl`), and a way to make more."""

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
    """The part of a `requests` or `httpx` response that the parser reads."""

    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    status_code: int = 429


def commit_quota(wait: str, limit: int = 128, **headers: str) -> Response:
    """The Hub's refusal of a commit, with its misleading header about another quota."""
    misleading = {"RateLimit": '"api";r=949;t=271', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}
    return Response({**misleading, **headers}, json.dumps({"error": LIVE_BODY.format(limit=limit, wait=wait)}))


def in_the_wild() -> list[dict[str, Any]]:
    """Responses with status 429, each with the first wait that a default policy may choose."""
    return _records("hub_429.jsonl")


def other_refusals() -> list[dict[str, Any]]:
    """Other responses that people met, each with what must happen."""
    return _records("hub_refusals.jsonl")


def _records(name: str) -> list[dict[str, Any]]:
    lines = (Path(__file__).parent / "data" / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def as_response(record: dict[str, Any]) -> Response:
    return Response(record["headers"], record["body"], record["status"])
