"""Many threads in virtual time, one at a time, so that what happens depends on their waits and on nothing else."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

from mat_vis_hub import gate
from mat_vis_hub._internal import clock, interrupt


class _Wait:
    """One wait of a job. It ends once, by its time or by its event."""

    def __init__(self) -> None:
        self.go_on = threading.Semaphore(0)
        self.is_over = False


class Schedule(clock.Clock):
    """
    The package's clock. A job that waits hands over to the job that is due next; none runs beside another.

    A test that fails in here fails again: nothing depends on the speed of the machine.
    """

    is_real = False

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, _Wait]] = []
        self._order = itertools.count()
        self._handed_over = threading.Semaphore(0)
        self._process = threading.local()
        self._gates: dict[object, gate.Gates] = defaultdict(gate.Gates)
        self._errors: list[BaseException] = []

    def start(self, job: Callable[[], object], *, process: object = None) -> None:
        """Start `job` now. Jobs of one process share its gates."""
        begin = _Wait()

        def run() -> None:
            begin.go_on.acquire()
            self._process.name = process
            try:
                job()
            except BaseException as error:
                self._errors.append(error)
            finally:
                self._handed_over.release()

        threading.Thread(target=run, daemon=True).start()
        self.at(self._now, begin)

    def run(self) -> None:
        """Run until all jobs have ended, and raise what the first that failed has raised."""
        while self._due:
            moment, _, wait = heapq.heappop(self._due)
            if not wait.is_over:
                wait.is_over = True
                self._now = max(self._now, moment)
                wait.go_on.release()
                assert self._handed_over.acquire(timeout=60), "a job waits for something that is not scheduled"
                if self._errors:
                    raise self._errors[0]

    def at(self, moment: float, wait: _Wait) -> None:
        heapq.heappush(self._due, (moment, next(self._order), wait))

    def hand_over(self, wait: _Wait) -> None:
        self._handed_over.release()
        wait.go_on.acquire()

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return 1_790_000_000.0 + self._now

    def wait(self, seconds: float, **options: object) -> None:
        wait = _Wait()
        self.at(self._now + max(0.0, seconds), wait)
        self.hand_over(wait)

    def reach(self, moment: float) -> None:
        """As `VirtualTime.reach`: a request to the local Hub takes so long."""
        self._now = max(self._now, moment)

    @property
    def value(self) -> gate.Gates:
        """The gates of the job's process. The schedule takes the place of `gate.current`."""
        return self._gates[self._process.name]


class _Event:
    """A `threading.Event` for jobs."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._is_set = False
        self._waits: list[_Wait] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for wait in self._waits:
            self._schedule.at(self._schedule.monotonic(), wait)

    def wait(self, timeout: float = math.inf) -> bool:
        if not self._is_set:
            wait = _Wait()
            self._waits.append(wait)
            self._schedule.at(self._schedule.monotonic() + timeout, wait)
            self._schedule.hand_over(wait)
        return self._is_set


@contextmanager
def schedule() -> Iterator[Schedule]:
    """Within this context, all that the package waits for is scheduled."""
    current = Schedule()
    threads = {name: getattr(threading, name) for name in ("Lock", "get_ident", "current_thread", "main_thread")}
    namespace = SimpleNamespace(Event=lambda: _Event(current), **threads)
    with (
        patch.object(clock, "current", current),
        patch.object(gate, "current", current),
        patch.object(gate, "threading", namespace),
        patch.object(interrupt, "threading", namespace),
        patch.object(interrupt._Registry, "watch_main_thread", lambda self: None),
    ):
        yield current
