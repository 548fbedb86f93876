"""For tests: waits that return at once and move the clocks on."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mat_vis_hub import buckets, gate
from mat_vis_hub._internal import clock, interrupt
from mat_vis_hub._internal.per_process import PerProcess


class VirtualTime(clock.Clock):
    """
    The time inside [`virtual_time`]. `waits` lists, in order, the seconds of each wait.

    Threads wait at the same time, as they would in real time: a wait begins when its thread last read the clock. So if
    eight threads that saw the same moment wait for 100 seconds, 100 seconds pass.
    """

    is_real = False

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._lock = threading.Lock()
        self._now = 0.0
        self._reached = 0.0  # this time has passed for all threads, whenever they last read the clock
        self._seen = threading.local()  # `moment`: when the present thread last read the clock
        self._wall = clock.wall()

    def now(self) -> float:
        """Seconds on the monotonic clock that the package reads. Starts at 0."""
        with self._lock:
            self._seen.moment = self._now
            return self._now

    def advance(self, seconds: float) -> None:
        """
        Let time pass.

        Args:
            seconds (`float`): How much of it.

        Raises:
            [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
                If `seconds` is negative or not finite.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"advance({seconds!r}): time goes forward, by a finite number of seconds.")
        with self._lock:
            self._now += seconds
            self._seen.moment = self._now

    def reach(self, moment: float) -> None:
        """
        Let time pass until `moment`. Does nothing if it has passed already.

        Nobody waits for it, so `waits` does not list it. The local Hub moves the clock so when it carries out commits.

        Args:
            moment (`float`): Seconds on the clock of `now()`.
        """
        with self._lock:
            self._now = self._reached = max(self._now, moment)

    def monotonic(self) -> float:
        return self.now()

    def wall(self) -> float:
        return self._wall + self.now()

    def wait(
        self,
        seconds: float,
        *,
        owner: object | None = None,
        tick: clock.Tick | None = None,
        every: float = math.inf,
    ) -> None:
        with interrupt.Wait(owner) as wait:
            self._pass(seconds)
            while tick is not None and seconds > 0:
                tick(seconds)
                wait.check()
                seconds -= every

    def _pass(self, seconds: float) -> None:
        with self._lock:
            end = max(getattr(self._seen, "moment", self._now), self._reached) + max(0.0, seconds)
            self._seen.moment = end
            if end > self._now:
                self.waits.append(end - self._now)
                self._now = end


@contextmanager
def virtual_time() -> Iterator[VirtualTime]:
    """
    Let every wait of the package return at once, and move its clocks on by as much.

    It applies to all threads of the process. Inside, nothing has been refused yet. Afterwards, the clocks and the
    refusals are what they were before. Waits show no progress bar and emit no heartbeats.

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
    before = clock.current, gate.current, buckets.current
    clock.current, gate.current, buckets.current = time, PerProcess(gate.Gates), PerProcess(buckets.Buckets)
    try:
        yield time
    finally:
        clock.current, gate.current, buckets.current = before
