"""The package's one clock. Everything that reads the time or waits asks here, so that tests can replace it whole."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

Tick = Callable[[float], None]
"""Told how many seconds of a wait remain."""


def _silent(remaining: float) -> None:
    pass


class Clock:
    """Real time. Waits are counted on the monotonic clock: a wall clock that jumps does not move them."""

    last_heartbeat = -math.inf  # when, on this clock, a log was last told that a wait goes on

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def wait_until(self, deadline: float, *, tick: Tick = _silent, every: float = math.inf) -> None:
        """Return once `monotonic()` has reached `deadline`; call `tick` first, and again `every` so many seconds."""
        while (remaining := deadline - self.monotonic()) > 0:
            tick(remaining)
            time.sleep(min(remaining, every))  # on the main thread Ctrl-C ends it at once


current = Clock()


def monotonic() -> float:
    return current.monotonic()


def wall() -> float:
    return current.wall()


def wait_until(deadline: float, *, tick: Tick = _silent, every: float = math.inf) -> None:
    current.wait_until(deadline, tick=tick, every=every)
