"""Many writers in virtual time: the real code, waiting in a world in which an hour passes at once.

Each job is a greenlet. `time.sleep`, `time.monotonic` and `time.time` are the world's while it runs, so every library
that waits hands over to whoever is due next: a discrete-event simulation in which nothing is modelled but the Hub's
limits, and those are the local Hub's own limiter and its own words. The requests are huggingface_hub's; they are
answered in its HTTP client's transport, without a socket.
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
from unittest.mock import patch

import greenlet
import httpx2
from huggingface_hub import set_client_factory

from mat_vis_hub import gate
from mat_vis_hub._internal import clock
from mat_vis_hub.local_hub.limiter import Limiter
from mat_vis_hub.local_hub.messages import commit_refusal

REPO = "you/textures"
LIMIT, WINDOW = 128, 3600.0
EPOCH = 1_790_000_000.0  # what `time.time` says at the start
_process: ContextVar[int] = ContextVar("process")  # of the job that is running


class World:
    """The time, and the jobs in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, greenlet.greenlet]] = []
        self._order = itertools.count()
        self._loop = greenlet.getcurrent()
        self._gates: dict[int, gate.Gates] = defaultdict(gate.Gates)

    def start(self, job: Callable[[], None], *, process: int = 0) -> None:
        """Run the job from now on. Jobs of one process share what threads share: its gates."""

        def run() -> None:
            _process.set(process)
            job()

        self._at(self.now, greenlet.greenlet(run, self._loop))

    def run(self, until: float = math.inf) -> None:
        """Until nothing is left to do, or until that moment: whoever still waits then is sent home."""
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

    def of(self, *repository: str) -> gate.Gate:
        """The gate of the running job's process, in place of `gate.current`."""
        return self._gates[_process.get()].of(*repository)

    def _at(self, moment: float, job: greenlet.greenlet) -> None:
        heapq.heappush(self._due, (moment, next(self._order), job))

    @contextmanager
    def ruling(self) -> Iterator[None]:
        """Whatever waits, waits in this world."""
        threads = SimpleNamespace(Condition=lambda: _Condition(self), Lock=gate.threading.Lock)
        with (
            patch.object(time, "sleep", self.sleep),
            patch.object(time, "monotonic", self.monotonic),
            patch.object(time, "time", self.wall),
            patch.object(clock, "current", _Silent()),
            patch.object(gate, "threading", threads),
            patch.object(gate, "current", self),
        ):
            yield


class _Silent(clock.Clock):
    """The package's clock without heartbeats: nobody watches. `time.sleep` is the world's."""

    is_real = False


class _Condition:
    """As `threading.Condition`, for greenlets: these hand over only where they wait, so there is nothing to lock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: dict[_Alarm, None] = {}  # first come, first served

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def wait(self, timeout: float = math.inf) -> bool:
        alarm = _Alarm(self._waiting, greenlet.getcurrent())
        self._waiting[alarm] = None
        if timeout < math.inf:
            self._world._at(self._world.now + timeout, alarm)
        self._world._loop.switch()
        return not alarm.rang

    def notify(self, n: int = 1) -> None:
        for alarm in list(itertools.islice(self._waiting, n)):
            del self._waiting[alarm]
            self._world._at(self._world.now, alarm.job)

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class _Alarm:
    """One wait: who waits, and the end of its patience, among the jobs that are due."""

    def __init__(self, waiting: dict[_Alarm, None], job: greenlet.greenlet) -> None:
        self._waiting = waiting
        self.job = job
        self.rang = False

    @property
    def dead(self) -> bool:
        return self not in self._waiting

    def switch(self) -> None:
        del self._waiting[self]
        self.rang = True
        self.job.switch()

    def throw(self) -> None:
        del self._waiting[self]
        self.job.throw()


@dataclass
class Hub:
    """What a repository's writers meet: the limiters and the sentences of the local Hub, in `world`'s time."""

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
        self._api = Limiter(self.api_limit, 300.0, "fixed", self.world.monotonic)

    def spend(self, commits: int) -> None:
        """Somebody else has just committed so often."""
        self._commits.spend(f"/api/models/{REPO}", commits)

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        api = self._api.standing("caller")
        headers = {"date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self.world.wall()))}
        if api is not None:
            headers["ratelimit"] = f'"api";r={max(0, api.remaining - 1)};t={math.ceil(api.reset_in)}'
            headers["ratelimit-policy"] = f'"fixed window";"api";q={self.api_limit};w=300'
        if not self._api.take("caller"):
            return httpx2.Response(429, headers=headers, json={"error": "We had to rate limit you"})
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
            error = commit_refusal(self.limit, self.window, wait)
            return httpx2.Response(429, headers=headers, json={"error": error})
        self.landed.append((now, who))
        oid = f"{len(self.landed):040x}"
        url = f"https://huggingface.co{repository.removeprefix('/api')}/commit/{oid}"
        return httpx2.Response(200, headers=headers, json={"success": True, "commitOid": oid, "commitUrl": url})

    @contextmanager
    def open(self) -> Iterator[Hub]:
        """huggingface_hub's requests end here."""
        set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(self.answer)))
        try:
            with self.world.ruling():
                yield self
        finally:
            set_client_factory(lambda: httpx2.Client(follow_redirects=True, timeout=None))
