"""`memory://`: the count of this process, shared by all its threads and all its API objects."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from weakref import WeakKeyDictionary

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub.budget.counted import CountedLog
from mat_vis_hub.budget.sliding_window import BEYOND, COUNTED, WAITING, Entry, Quota
from mat_vis_hub.budget.stored import StoredBudget, name_of


class _Log(CountedLog):
    """One repository's log: in a bucket of pyrate-limiter, ordered by time, and once more ordered by name."""

    def __init__(self, quota: Quota) -> None:
        self.lock = threading.Lock()
        self.now = 0
        self.quota = quota
        self.noted: Quota | None = None
        self.bucket: InMemoryBucket = InMemoryBucket([Rate(quota.limit, quota.window)])
        self._names: list[str] = []
        self._entries: dict[str, Entry] = {}

    def begin(self, quota: Quota) -> None:
        self.now = milliseconds()
        self.quota = self.noted or quota
        self.bucket.rates = [Rate(self.quota.limit, self.quota.window)]
        for item in self.bucket.items[: self._earlier_than(self.now - self.quota.window)]:
            self._drop(item.name)

    def put(self, name: str, at: int) -> int:
        later = super().put(name, at)
        if not later:
            self._add(self.bucket.items.pop())  # the bucket puts it at the end, wherever it belongs
        return later

    def between(self, first: int, last: int) -> int:
        return self._earlier_than(last + 1) - self._earlier_than(first)

    def entries(self, before: str = BEYOND, but: str = "") -> list[Entry]:
        return [self._entries[name] for name in self._names[: bisect_left(self._names, before)] if name != but]

    def move(self, slot: str, state: str, at: int | None = None) -> None:
        self.remove(slot)
        self._add(RateItem(state + slot, self.now if at is None else at))

    def remove(self, slot: str) -> None:
        for name in (WAITING + slot, COUNTED + slot):
            if name in self._entries:
                self._drop(name)

    def note(self, quota: Quota) -> None:
        self.quota = self.noted = quota

    def _add(self, item: RateItem) -> None:
        insort(self.bucket.items, item, key=_by_time)
        insort(self._names, item.name)
        self._entries[item.name] = Entry(item.name, item.timestamp)

    def _drop(self, name: str) -> None:
        del self._names[bisect_left(self._names, name)]
        index = self._earlier_than(self._entries.pop(name).at)
        while self.bucket.items[index].name != name:
            index += 1
        del self.bucket.items[index]

    def _earlier_than(self, at: int) -> int:
        return bisect_left(self.bucket.items, at, key=_by_time)


_by_time = attrgetter("timestamp")


class _Logs:
    """The logs of this process. Time that a test makes up (`virtual_time`) has its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._by_clock: WeakKeyDictionary[clock.Clock, dict[str, _Log]] = WeakKeyDictionary()

    def of(self, repository: Repository, quota: Quota) -> _Log:
        with self.lock:
            return self._by_clock.setdefault(clock.current, {}).setdefault(name_of(repository), _Log(quota))


_logs = PerProcess(_Logs)


class MemoryBudget(StoredBudget):
    """A `CommitBudget` for one process."""

    def open(self) -> None:
        """It is always there."""

    @contextmanager
    def log(self, repository: Repository) -> Iterator[_Log]:
        log = _logs.value.of(repository, self._quota)
        with log.lock:
            log.begin(self._quota)
            yield log


def milliseconds() -> int:
    """The package's monotonic clock, which no change of the wall clock moves."""
    return round(clock.monotonic() * 1e6) // 1000
