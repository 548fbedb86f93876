"""One gate per process and repository, so that a closed window costs about one refusal and not one per writer.

A writer that is refused closes the gate for all of them until the moment the server named. Then they go one by one
until one succeeds, and twice as many with each success. They also go one by one where the quota must be about spent: a
refusal then meets one writer, and not all that are under way. Until a refusal names the quota, that is at every
multiple of the usual one.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mat_vis_hub._internal import clock

_USUAL_LIMIT, _USUAL_WINDOW = 128, 3600.0  # commits, seconds
_PATIENCE_FOR_OTHERS = 60.0  # real seconds; a writer that hangs holds the others up no longer than this


class Gate:
    """Lets the writers of one repository in. `reopens_at` is on the package's monotonic clock."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._in_flight = 0
        self._width = 1  # how many may be in flight
        self._passed = 0  # commits that succeeded since the window opened
        self._opened_at = clock.monotonic()
        self._limit: int | None = None
        self._window = _USUAL_WINDOW
        self.reopens_at = -math.inf

    @contextmanager
    def permit(self, wait: Callable[[float], bool]) -> Iterator[Permit]:
        """
        Come in, and leave on exit.

        While the gate is closed, `wait(reopens_at)` is called, as often as it takes; it returns `False` to go through
        all the same.
        """
        while (reopens_at := self._enter()) is not None:
            if not wait(reopens_at):
                with self._changed:
                    self._in_flight += 1
                break
        try:
            yield Permit(self)
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify(self._room())  # no more than can use it: thousands may be waiting

    def _enter(self) -> float | None:
        """Come in, or return when to ask again."""
        with self._changed:
            while clock.monotonic() >= self.reopens_at:
                if self._room() > 0 or not self._changed.wait(_PATIENCE_FOR_OTHERS):
                    self._in_flight += 1
                    return None
            return self.reopens_at

    def _room(self) -> int:
        """How many more may come in now."""
        if clock.monotonic() - self._opened_at >= self._window:
            self._opened_at, self._passed = clock.monotonic(), 0
        room = min(self._width, self._left()) - self._in_flight
        return max(room, 0 if self._in_flight else 1)

    def _left(self) -> int:
        """How many more the window takes. Where that is a guess, the one who would find out counts among them."""
        if self._limit is not None:
            return self._limit - self._passed
        return _USUAL_LIMIT - max(self._passed - 1, 0) % _USUAL_LIMIT

    def _succeeded(self) -> None:
        with self._changed:
            self._passed += 1
            self._width = min(2 * self._width, 1024)

    def _refused(self, reopens_at: float, limit: int | None, window: float | None) -> None:
        with self._changed:
            self._width, self._passed = 1, 0
            self._limit, self._window = limit or self._limit, window or self._window
            self.reopens_at = self._opened_at = max(self.reopens_at, reopens_at)
            self._changed.notify_all()  # they wait for another moment now


class Permit:
    """One call on its way through a [`Gate`]; says how it ended."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def succeeded(self) -> None:
        self._gate._succeeded()

    def refused(self, wait: float, *, limit: int | None, window: float | None) -> float:
        """Close the gate for `wait` seconds, at least; returns when it reopens."""
        self._gate._refused(clock.monotonic() + wait, limit, window)
        return self._gate.reopens_at


class Gates:
    """The gates of this process, by repository."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[tuple[str, str, str], Gate] = {}

    def of(self, endpoint: str, repo_type: str, repo_id: str) -> Gate:
        repository = (endpoint, repo_type, repo_id)
        with self._lock:
            if repository not in self._gates:
                self._gates[repository] = Gate()
            return self._gates[repository]


current = Gates()


def _forget() -> None:
    """After a fork: what the parent's writers are doing is none of the child's business."""
    global current
    current = Gates()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
