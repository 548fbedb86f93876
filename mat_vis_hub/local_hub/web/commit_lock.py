"""How long commits take, and who waits: one commit per repository at a time, cut off by the gateway after a minute."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from starlette.requests import Request

from mat_vis_hub.local_hub.messages import COMMIT_IN_PROGRESS, QUEUE_IS_FULL, QUEUE_TOOK_TOO_LONG
from mat_vis_hub.local_hub.model.errors import MergeConflict, RevisionNotFound
from mat_vis_hub.local_hub.model.repository import Repo
from mat_vis_hub.local_hub.settings import Settings
from mat_vis_hub.local_hub.timeline import Agenda, Job, Timeline, timeline
from mat_vis_hub.local_hub.web.errors import GatewayTimeout, HubError
from mat_vis_hub.local_hub.web.exchange import Exchange

_T = TypeVar("_T")


@dataclass
class _Commit(Generic[_T]):
    """A commit that is being carried out: it holds its repository, and lands when its time is over."""

    land: Callable[[float], _T] | None  # takes the date; None for one that does not land
    release: Callable[[], object]
    cut_off: bool  # nobody waits for what it raises
    result: _T | None = None
    error: Exception | None = None

    def run(self, job: Job) -> None:
        self.release()
        if self.land is None:
            return
        try:
            self.result = self.land(job.timeline.date(job.moment))
        except Exception as error:
            self.error = error
            if self.cut_off and not isinstance(error, (HubError, RevisionNotFound, MergeConflict)):
                raise  # a bug, for the log


class CommitLocks:
    """
    Carries out commits, merges and squashes, of one repository one at a time.

    Args:
        settings (`Settings`):
            `commit_time`, `operation_time`, `speed`, `commit_timeout`, `late`, `queue_limit`, `queue_time` and `clock`.
        agenda (`Agenda`):
            Where commits are kept until they land.
    """

    def __init__(self, settings: Settings, agenda: Agenda) -> None:
        self._settings = settings
        self._agenda = agenda
        self._held: dict[str, Job] = {}  # by the repository's `uid`
        self._queued: Counter[str] = Counter()
        self._random = random.Random(0)  # the same late commits land in each run

    async def carry_out(
        self,
        request: Request,
        repo: Repo,
        land: Callable[[float], _T],
        *,
        operations: int = 0,
        check: Callable[[], object] = lambda: None,
    ) -> _T:
        """
        Hold `repo` for the time that a commit of so many operations takes, then let it land.

        Args:
            land (`Callable`): Takes the date of the commit, in seconds since the epoch, and makes it.
            check (`Callable`): Raises if the commit may not be made now, because of its quota.

        Raises:
            [`HubError`]: 409 if the repository is held already, 429 if too many wait for it, or what `land` raises.
            [`GatewayTimeout`]: If the commit takes longer than the gateway waits. It may land nevertheless.
        """
        settings = self._settings
        late = Exchange.of(request.scope).delivered_late
        if late is None:
            await self._agenda.settle()  # the clock may have moved while the request was read
        if late is None or not late.accepted:
            check()
        if late is not None or not settings.commit_time:
            self._require_free(repo)
            return land(settings.clock() if late is None else late.date)
        current = timeline(settings.clock, settings.speed)
        if repo.uid in self._held:
            await self._queue(current, repo)
            check()
        return await self._hold(current, repo, settings.commit_time + operations * settings.operation_time, land)

    def reserve(self, repo: Repo, job: Job) -> bool:
        """Hold `repo` until `job` is done. Returns whether it was free."""
        free = repo.uid not in self._held
        if free:
            self._held[repo.uid] = job
        return free

    def release(self, repo: Repo) -> None:
        self._held.pop(repo.uid, None)

    def _require_free(self, repo: Repo) -> None:
        if repo.uid in self._held:
            raise HubError(409, COMMIT_IN_PROGRESS, refused_by="lock")

    async def _hold(self, current: Timeline, repo: Repo, seconds: float, land: Callable[[float], _T]) -> _T:
        limit = self._settings.commit_timeout
        cut_off = limit is not None and seconds > limit
        commit = _Commit(None if cut_off and not self._lands_late() else land, lambda: self.release(repo), cut_off)
        now = current.now()
        job = Job(current, now + seconds, commit.run)
        self._held[repo.uid] = job
        self._agenda.add(job)
        if cut_off:
            assert limit is not None
            await current.wait(now + limit, job.done)
            await self._agenda.settle()
            raise GatewayTimeout
        while not job.done.is_set():
            await current.wait(job.moment, job.done)
            await self._agenda.settle()
        if commit.error:
            raise commit.error
        return commit.result  # type: ignore[return-value]  # it is done, and without an error

    def _lands_late(self) -> bool:
        late = self._settings.late
        if isinstance(late, str):
            return late == "lands"
        return self._random.random() < late

    async def _queue(self, current: Timeline, repo: Repo) -> None:
        """Wait until `repo` is free. Raises 409 where commits do not queue, and 429 where the queue is too long."""
        limit, uid = self._settings.queue_limit, repo.uid
        if limit is None:
            self._require_free(repo)
            return
        if self._queued[uid] >= limit:
            raise HubError(429, QUEUE_IS_FULL, refused_by="queue")
        deadline = current.now() + self._settings.queue_time
        self._queued[uid] += 1
        try:
            while holder := self._held.get(uid):
                if current.has_passed(deadline):
                    raise HubError(429, QUEUE_TOOK_TOO_LONG, refused_by="queue")
                await current.wait(min(deadline, holder.moment), holder.done)
                await self._agenda.settle()
        finally:
            self._queued[uid] -= 1
