"""Answers on demand: what the next requests get instead of, or on top of, the real answer."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Rule:
    """One line of the script. It lets `after` requests pass, then applies to the next `times`."""

    on: str | None
    times: int = 1
    after: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False
    applied: bool = False
    delay: float = 0.0

    def __post_init__(self) -> None:
        if self.times < 1 or self.after < 0:
            raise ValueError(
                f"A rule applies to at least one request (times={self.times}) after none or more (after={self.after})."
            )


class Script:
    """The rules still to be played. Per request the first rule that fits is consumed, in order; thread-safe."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def next(self, endpoint: str) -> Rule | None:
        with self._lock:
            for rule in self._rules:
                if rule.on not in (None, endpoint):
                    continue
                if rule.after > 0:
                    rule.after -= 1
                    continue
                rule.times -= 1
                if rule.times == 0:
                    self._rules.remove(rule)
                return rule
        return None


def encoded(body: str | bytes | dict[str, Any] | list[Any]) -> tuple[bytes, str]:
    """A scripted body and its media type."""
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        looks_like_json = body[:1] in ("{", "[")
        return body.encode(), "application/json" if looks_like_json else "text/plain; charset=utf-8"
    return json.dumps(body).encode(), "application/json"
