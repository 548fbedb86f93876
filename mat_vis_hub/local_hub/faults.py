"""Faults on demand: what the next requests get instead of, or in addition to, the real answer."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """
    One fault. It skips `after` matching requests, then applies to the next `times`.

    Args:
        on (`str`, *optional*):
            The endpoint to match. `None` matches all.
        times (`int`, defaults to `1`):
            How many requests it applies to.
        after (`int`, defaults to `0`):
            How many matching requests it skips first.
        status (`int`, *optional*):
            Answer with this status, `headers` and `body`, and do not process the request.
        drop (`bool`, defaults to `False`):
            Close the connection without an answer.
        applied (`bool`, defaults to `False`):
            Process the request before `drop`.
        delay (`float`, defaults to `0.0`):
            Real seconds to wait.
        delay_answer (`bool`, defaults to `False`):
            Wait after the request was processed, not before.
        truncate (`bool`, defaults to `False`):
            Close the connection half way through the body of the answer.
        lands_in (`float`, *optional*):
            Process the request after all, so many of the Hub's seconds after `status` or `drop`.
        holds (`bool`, defaults to `True`):
            Whether the repository takes no other commit until then.
    """

    on: str | None
    times: int = 1
    after: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False
    applied: bool = False
    delay: float = 0.0
    delay_answer: bool = False
    truncate: bool = False
    lands_in: float | None = None
    holds: bool = True

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"times is {self.times!r}; a fault applies to at least one request.")
        if self.after < 0:
            raise ValueError(f"after is {self.after!r}; it is a number of requests, 0 or more.")
        if not 0 <= self.delay < float("inf"):
            raise ValueError(f"delay is {self.delay!r}; it is a number of seconds, 0 or more.")
        if self.lands_in is not None and not 0 <= self.lands_in < float("inf"):
            raise ValueError(f"lands_in is {self.lands_in!r}; it is a number of seconds, 0 or more.")
        if self.lands_in is not None and self.applied:
            raise ValueError("applied and lands_in exclude each other: the request is processed before or after.")


class Faults:
    """The faults that are still to come. Each request consumes the first one that matches. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._races = 0
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self._races = 0

    def add_races(self, times: int) -> None:
        """Let the next commits that name no parent lose a race."""
        if times < 1:
            raise ValueError(f"times is {times!r}; a fault applies to at least one request.")
        with self._lock:
            self._races += times

    def take_race(self) -> bool:
        """Return whether a commit that names no parent loses a race."""
        with self._lock:
            lost = self._races > 0
            self._races -= lost
            return lost

    def next(self, endpoint: str) -> Fault | None:
        """Take the fault for a request to `endpoint`."""
        with self._lock:
            for fault in self._faults:
                if fault.on not in (None, endpoint):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
                return fault
        return None


def encoded(body: str | bytes | dict[str, Any] | list[Any]) -> tuple[bytes, str]:
    """Return a fault's body as bytes, and its media type."""
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        looks_like_json = body[:1] in ("{", "[")
        return body.encode(), "application/json" if looks_like_json else "text/plain; charset=utf-8"
    return json.dumps(body).encode(), "application/json"
