"""Simulates many writers in virtual time: the real code waits in a world in which an hour passes at once.

Each job is a greenlet. While the world runs, `time.sleep`, `time.monotonic` and `time.time` are its own. A library that
waits hands over to the job that is due next, so this is a discrete-event simulation. Only the Hub's limits are
modelled, with the local Hub's own limiter and messages. huggingface_hub sends its real requests; its HTTP client's
transport answers them, without a socket.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Protocol
from unittest.mock import patch

import greenlet
import httpx2
from huggingface_hub import set_client_factory

from mat_vis_hub import gate, transport
from mat_vis_hub._internal import clock, interrupt
from mat_vis_hub.local_hub.limiter import Limiter
from mat_vis_hub.local_hub.messages import api_refusal, commit_refusal

REPO = "you/textures"
LIMIT, WINDOW = 128, 3600.0
API_WINDOW = 300.0
EPOCH = 1_790_000_000.0  # what `time.time` says at the start

# Each greenlet has a context of its own.
_process: ContextVar[int] = ContextVar("process")
_sending: ContextVar[bool] = ContextVar("sending", default=False)


class _Due(Protocol):
    """What the world can resume: a greenlet, or one wait of it."""

    @property
    def dead(self) -> bool: ...
    def switch(self) -> object: ...
    def throw(self) -> object: ...


class World:
    """The time, and the jobs that wait for it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, _Due]] = []
        self._order = itertools.count()
        self._loop = greenlet.getcurrent()
        self._gates: dict[int, gate.Gates] = defaultdict(gate.Gates)

    def start(self, job: Callable[[], None], *, process: int = 0) -> None:
        """Start `job` now. Jobs of one process share what its threads share: the gates."""

        def run() -> None:
            _process.set(process)
            job()

        self._at(self.now, greenlet.greenlet(run, self._loop))

    def run(self, until: float = math.inf) -> None:
        """Run until all jobs have ended, or until that moment. Jobs that still wait then are killed."""
        while self._due:
            self.now, _, job = heapq.heappop(self._due)
            if not job.dead:
                job.switch() if self.now <= until else job.throw()

    def sleep(self, seconds: float) -> None:
        self._at(self.now + max(0.0, seconds), greenlet.getcurrent())
        self._loop.switch()

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now

    @property
    def value(self) -> gate.Gates:
        """The gates of the running job's process. The world takes the place of `gate.current`."""
        return self._gates[_process.get()]

    def _at(self, moment: float, job: _Due) -> None:
        heapq.heappush(self._due, (moment, next(self._order), job))

    @contextmanager
    def ruling(self) -> Iterator[None]:
        """Within this context, all that waits does so in this world."""
        threads = SimpleNamespace(
            Event=lambda: _Event(self), Lock=gate.threading.Lock, get_ident=lambda: id(greenlet.getcurrent())
        )
        with (
            patch.object(time, "sleep", self.sleep),
            patch.object(time, "monotonic", self.monotonic),
            patch.object(time, "time", self.wall),
            patch.object(clock, "current", _Silent()),
            patch.object(gate, "threading", threads),
            patch.object(gate, "current", self),
            patch.object(transport, "_thread", _Greenlet()),
            patch.object(interrupt, "_MAIN_THREAD_PIECE", math.inf),  # nobody presses Ctrl-C
        ):
            yield


class _Silent(clock.Clock):
    """The package's clock without heartbeats. It calls `time.sleep`, which is the world's."""

    is_real = False


class _Greenlet:
    """What `transport` keeps for each thread, for each greenlet."""

    job = None

    @property
    def sending(self) -> bool:
        return _sending.get()

    @sending.setter
    def sending(self, value: bool) -> None:
        _sending.set(value)


class _Event:
    """A `threading.Event` for greenlets."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_set = False
        self._waits: list[_Wait] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for wait in self._waits:
            self._world._at(self._world.now, wait)
        self._waits.clear()

    def wait(self, timeout: float = math.inf) -> bool:
        if not self._is_set:
            wait = _Wait(greenlet.getcurrent())
            self._waits.append(wait)
            if timeout < math.inf:
                self._world._at(self._world.now + timeout, wait)
            self._world._loop.switch()
            if wait in self._waits:
                self._waits.remove(wait)
        return self._is_set


class _Wait:
    """One wait of a greenlet. It ends once, by its timeout or by its event."""

    def __init__(self, job: greenlet.greenlet) -> None:
        self._job = job
        self._has_ended = False

    @property
    def dead(self) -> bool:
        return self._has_ended

    def switch(self) -> None:
        self._has_ended = True
        self._job.switch()

    def throw(self) -> None:
        self._has_ended = True
        self._job.throw()


@dataclass
class Hub:
    """The Hub as its writers meet it: the local Hub's limiters and messages, in the time of `world`."""

    world: World
    model: str = "fixed"
    limit: int | None = LIMIT
    window: float = WINDOW
    api_limit: int | None = 1000
    seconds: float = 1.0  # that a commit takes; it is counted halfway through
    landed: list[tuple[float, str]] = field(default_factory=list)  # when, and whose
    refused: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._commits = Limiter(self.limit, self.window, self.model, self.world.monotonic)
        self._api = Limiter(self.api_limit, API_WINDOW, "fixed", self.world.monotonic)

    def spend(self, commits: int) -> None:
        """Count commits that somebody else has just made."""
        self._commits.spend(f"/api/models/{REPO}", commits)

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        api = self._api.standing("caller")
        headers = {"date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self.world.wall()))}
        if api is not None:
            headers["ratelimit"] = f'"api";r={max(0, api.remaining - 1)};t={math.ceil(api.reset_in)}'
            headers["ratelimit-policy"] = f'"fixed window";"api";q={self.api_limit};w={API_WINDOW:g}'
        if self.api_limit is not None and not self._api.take("caller"):
            return httpx2.Response(429, headers=headers, json={"error": api_refusal(self.api_limit, API_WINDOW)})
        return self._route(request, headers)

    def _route(self, request: httpx2.Request, headers: dict[str, str]) -> httpx2.Response:
        lines = request.content.splitlines()
        if "/preupload/" in request.url.path:
            paths = [file["path"] for file in json.loads(lines[0])["files"]]
            files = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            return httpx2.Response(200, headers=headers, json={"files": files})
        repository, who = request.url.path.partition("/commit/")[0], json.loads(lines[0])["value"]["summary"]
        self.world.sleep(self.seconds / 2)
        counted, wait = self._commits.take(repository), 0.0
        now = self.world.now
        if not counted:
            standing = self._commits.standing(repository)
            wait = standing.reset_in if standing else 0.0
        self.world.sleep(self.seconds / 2)
        if not counted:
            self.refused.append((now, who))
            error = commit_refusal(self.limit or 0, self.window, wait)
            return httpx2.Response(429, headers=headers, json={"error": error})
        self.landed.append((now, who))
        oid = f"{len(self.landed):040x}"
        url = f"https://huggingface.co{repository.removeprefix('/api')}/commit/{oid}"
        return httpx2.Response(200, headers=headers, json={"success": True, "commitOid": oid, "commitUrl": url})

    @contextmanager
    def open(self) -> Iterator[Hub]:
        """Within this context, this Hub answers huggingface_hub's requests."""
        set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(self.answer)))
        try:
            with self.world.ruling():
                yield self
        finally:
            set_client_factory(lambda: httpx2.Client(follow_redirects=True, timeout=None))
