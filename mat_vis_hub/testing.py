"""For tests: waits that return at once, and the clocks that move on by them."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mat_vis_hub import gate
from mat_vis_hub._internal import clock


class VirtualTime(clock.Clock):
    """The time inside [`virtual_time`]. `waits` lists, in order, the seconds of each wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._lock = threading.Lock()
        self._now = 0.0
        self._wall = clock.wall()

    def now(self) -> float:
        """Seconds on the monotonic clock that the package reads. Starts at 0."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"advance({seconds!r}): time goes forward, by a finite number of seconds.")
        with self._lock:
            self._now += seconds

    def monotonic(self) -> float:
        return self.now()

    def wall(self) -> float:
        return self._wall + self.now()

    def wait_until(self, deadline: float, *, tick: clock.Tick = lambda _: None, every: float = math.inf) -> None:
        with self._lock:
            remaining = deadline - self._now
            if remaining <= 0:
                return
            self.waits.append(remaining)
            self._now = deadline
        while remaining > 0:
            tick(remaining)
            remaining -= every


@contextmanager
def virtual_time() -> Iterator[VirtualTime]:
    """
    Let every wait of the package return at once, and its clocks move on by as much.

    It holds for the whole process, all threads. Inside, no repository has been refused yet, whatever happened before;
    afterwards, all is as it was.

    Yields:
        [`VirtualTime`]: `time.waits` lists the waits in order, `time.now()` is the monotonic clock that the package
        reads, `time.advance(seconds)` moves it.

    Example:
    ```python
    >>> from mat_vis_hub.testing import virtual_time
    >>> with virtual_time() as time:
    ...     time.advance(3600)
    ...     time.now(), time.waits
    (3600.0, [])

    ```
    """
    time = VirtualTime()
    before = clock.current, gate.current
    clock.current, gate.current = time, gate.Gates()
    try:
        yield time
    finally:
        clock.current, gate.current = before
