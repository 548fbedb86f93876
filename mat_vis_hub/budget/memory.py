"""`memory://`: the count of this process, shared by all its threads and all its API objects."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from weakref import WeakKeyDictionary

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from mat_vis_hub import clock
from mat_vis_hub.budget.counted import CountedLog
from mat_vis_hub.budget.log import COUNTED, WAITING, Entry, Quota
from mat_vis_hub.budget.protocol import Repository
from mat_vis_hub.budget.shared import LoggedBudget, name_of


class _Item(RateItem):
    """What the bucket holds, with the entry that it is: every decision lists them all."""

    def __init__(self, name: str, timestamp: int) -> None:
        super().__init__(name, timestamp)
        self.entry = Entry(name, timestamp)


class _Log(CountedLog):
    """One repository's log, in a bucket of pyrate-limiter; what it holds is ordered by time."""

    item = _Item

    def __init__(self, quota: Quota) -> None:
        self.lock = threading.Lock()
        self.now = 0
        self.quota = quota
        self.noted: Quota | None = None
        self.bucket: InMemoryBucket = InMemoryBucket([Rate(quota.limit, quota.window)])

    def begin(self, quota: Quota) -> None:
        self.now = milliseconds()
        self.quota = self.noted or quota
        self.bucket.rates = [Rate(self.quota.limit, self.quota.window)]
        self.bucket.leak(self.now)

    def put(self, name: str, at: int) -> int:
        later = super().put(name, at)
        self._sort()
        return later

    def entries(self) -> list[Entry]:
        items: list[_Item] = self.bucket.items  # type: ignore[assignment]  # it holds what we put there
        return [item.entry for item in items]

    def move(self, slot: str, state: str, at: int | None = None) -> None:
        self.remove(slot)
        self.bucket.items.append(_Item(state + slot, self.now if at is None else at))
        self._sort()

    def remove(self, slot: str) -> None:
        names = (WAITING + slot, COUNTED + slot)
        self.bucket.items[:] = [item for item in self.bucket.items if item.name not in names]

    def note(self, quota: Quota) -> None:
        self.quota = self.noted = quota

    def _sort(self) -> None:
        self.bucket.items.sort(key=attrgetter("timestamp"))


class _Logs:
    """The logs of this process. Time that a test makes up (`virtual_time`) has its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._by_clock: WeakKeyDictionary[clock.Clock, dict[str, _Log]] = WeakKeyDictionary()

    def of(self, repository: Repository, quota: Quota) -> _Log:
        with self.lock:
            return self._by_clock.setdefault(clock.current, {}).setdefault(name_of(repository), _Log(quota))


_logs = _Logs()


class MemoryBudget(LoggedBudget):
    """A `CommitBudget` for one process."""

    def open(self) -> None:
        """It is always there."""

    @contextmanager
    def log(self, repository: Repository) -> Iterator[_Log]:
        log = _logs.of(repository, self._quota)
        with log.lock:
            log.begin(self._quota)
            yield log


def milliseconds() -> int:
    """The package's monotonic clock, which no change of the wall clock moves."""
    return round(clock.monotonic() * 1e6) // 1000


def _forget() -> None:
    """After a fork: the locks may be held by threads that the child does not have."""
    global _logs
    _logs = _Logs()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
