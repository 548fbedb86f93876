"""The time that commits take, in virtual and in real time, and what is still to happen on the Hub."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from mat_vis_hub._internal import clock as package_clock
from mat_vis_hub.local_hub.limiter import Clock

_log = logging.getLogger(__name__)

LONGEST_PAUSE = 0.02
"""Real seconds after which the Hub moves a virtual clock on. Concurrent requests can meet a commit meanwhile."""


class Timeline(Protocol):
    """Seconds of the Hub. Only differences between moments of one timeline have a meaning."""

    def now(self) -> float: ...

    def date(self, moment: float) -> float:
        """Return when a moment that has passed was on the Hub's clock, in seconds since the epoch."""
        ...

    def has_passed(self, moment: float) -> bool: ...

    async def wait(self, moment: float, unless: asyncio.Event) -> None:
        """Return at `moment`, or once `unless` is set."""
        ...


@dataclass(frozen=True)
class RealTime:
    """Real time, `speed` times faster."""

    speed: float
    clock: Clock

    def now(self) -> float:
        return time.monotonic() * self.speed

    def date(self, moment: float) -> float:
        if self.clock is not package_clock.wall:
            return self.clock()  # a clock of the user's, which may stand still
        return self.clock() - max(0.0, self.now() - moment) / self.speed

    def has_passed(self, moment: float) -> bool:
        return self.now() >= moment

    async def wait(self, moment: float, unless: asyncio.Event) -> None:
        while not self.has_passed(moment) and not unless.is_set():
            await _sleep((moment - self.now()) / self.speed, unless)


class _Steerable(Protocol):
    """The part of `mat_vis_hub.testing.VirtualTime` that is needed here."""

    def monotonic(self) -> float: ...
    def wall(self) -> float: ...
    def reach(self, moment: float) -> None: ...


@dataclass(frozen=True)
class VirtualTime:
    """The package's virtual clock, which the Hub moves on to the end of what it waits for."""

    speed: float
    clock: _Steerable

    def now(self) -> float:
        return self.clock.monotonic()

    def date(self, moment: float) -> float:
        return self.clock.wall() - max(0.0, self.now() - moment)

    def has_passed(self, moment: float) -> bool:
        # Nobody moves a virtual clock on that is not in use any more.
        current: object = package_clock.current
        return self.now() >= moment or current is not self.clock

    async def wait(self, moment: float, unless: asyncio.Event) -> None:
        await _sleep(min(LONGEST_PAUSE, (moment - self.now()) / self.speed), unless)
        if not unless.is_set():
            self.clock.reach(moment)


def timeline(clock: Clock, speed: float) -> Timeline:
    """Return the timeline of what begins now: the package's virtual clock if the Hub uses it, or else real time."""
    current = package_clock.current
    if clock is package_clock.wall and not current.is_real and hasattr(current, "reach"):
        return VirtualTime(speed, current)
    return RealTime(speed, clock)


async def _sleep(seconds: float, unless: asyncio.Event) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(unless.wait(), max(0.0, seconds))


@dataclass(eq=False)
class Job:
    """Something that happens at a moment: a commit that lands, a request that a gateway delivers late."""

    timeline: Timeline
    moment: float
    run: Callable[[Job], object]  # may return an awaitable
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Agenda:
    """
    What is still to happen. Nothing here runs in the background.

    `settle` does what is due, in order. It is called before each request, so that a request finds what it would find on
    a Hub that works on its own, and the order does not depend on the speed of the machine.
    """

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._settling = asyncio.Lock()

    def add(self, job: Job) -> None:
        self._jobs.append(job)

    async def settle(self) -> None:
        """Do what is due. Must not be called by a job."""
        async with self._settling:
            while due := [job for job in self._jobs if job.timeline.has_passed(job.moment)]:
                await self._do(min(due, key=lambda job: job.moment))

    async def _do(self, job: Job) -> None:
        self._jobs.remove(job)
        try:
            result = job.run(job)
            if asyncio.iscoroutine(result):
                await result
        except Exception:  # the request that comes next has nothing to do with it
            _log.exception("What was still to happen has failed.")
        finally:
            job.done.set()
