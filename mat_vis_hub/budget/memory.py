"""`memory://`: a budget for all threads and all API objects of one process."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from mat_vis_hub._internal import clock
from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub._internal.table import Table
from mat_vis_hub.budget.sliding_window import NEVER, Entry, Queue, Quota, Row, SlidingWindow, Window, place_of
from mat_vis_hub.budget.stored import StoredBudget

T = TypeVar("T")


class _Repository:
    """One repository's row and entries, in sorted lists."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.row = Row()
        self.counted: list[tuple[int, str]] = []  # moment, id
        self.waiting: list[tuple[int, str]] = []  # moment, id
        self.queue: list[tuple[int, str]] = []  # place, id: the same reservations
        self.open: dict[int, int] = {}  # place, until
        self.moments: dict[str, int] = {}  # of all

    def is_over(self) -> bool:
        return milliseconds() > self.row.over_at


class _MemoryWindow(SlidingWindow):
    """One decision. The caller holds the repository's lock."""

    def __init__(self, repository: _Repository, own: Quota) -> None:
        super().__init__(milliseconds(), repository.row, own)
        self._all = repository
        outdated = (self.now - self.row.longest, "")
        for entries in (repository.counted, repository.waiting):
            for _, id in entries[: bisect_left(entries, outdated)]:
                self.remove(id)

    def queue(self, place: int, limit: int) -> Queue:
        queue, moments = self._all.queue, self._all.moments
        ahead = bisect_left(queue, (place, ""))
        if not ahead:
            return Queue()
        at_limit = moments[queue[ahead - limit][1]] if ahead >= limit else Queue().at_limit
        return Queue(min(ahead, limit), moments[queue[ahead - 1][1]], at_limit)

    def last_waiting(self) -> int:
        return self._all.queue[-1][0] if self._all.queue else NEVER

    def counted(self, nth: int) -> int | None:
        counted = self._all.counted
        return counted[-nth][0] if nth <= len(counted) else None

    def count(self, since: int) -> int:
        return len(self._all.counted) - bisect_left(self._all.counted, (since, ""))

    def latest(self, since: int, limit: int, most: int) -> tuple[int, list[int]]:
        moments = sorted(moment for moment in self._all.moments.values() if moment >= since)
        return len(moments), moments[-limit:][:most]

    def put(self, id: str, place: int, moment: int, *, waiting: bool) -> None:
        insort(self._all.waiting if waiting else self._all.counted, (moment, id))
        if waiting:
            insort(self._all.queue, (place, id))
        self._all.moments[id] = moment

    def remove(self, id: str) -> Entry | None:
        moment = self._all.moments.pop(id, None)
        if moment is None:
            return None
        was_waiting = _discard(self._all.waiting, (moment, id))
        if was_waiting:
            _discard(self._all.queue, (place_of(id) or 0, id))
        else:
            _discard(self._all.counted, (moment, id))
        return Entry(moment, was_waiting)

    def take_open_place(self) -> int | None:
        self._all.open = {place: until for place, until in self._all.open.items() if until >= self.now}
        place = min(self._all.open, default=None)
        if place is not None:
            del self._all.open[place]
        return place

    def leave_open(self, place: int, until: int) -> None:
        self._all.open[place] = until

    def shift(self, since: int, by: int) -> None:
        waiting = self._all.waiting
        first = bisect_left(waiting, (since, ""))
        waiting[first:] = [(moment + by, id) for moment, id in waiting[first:]]
        self._all.moments.update({id: moment for moment, id in waiting[first:]})
        waiting.sort()


def _discard(entries: list[tuple[int, str]], entry: tuple[int, str]) -> bool:
    index = bisect_left(entries, entry)
    if index == len(entries) or entries[index] != entry:
        return False
    del entries[index]
    return True


class _Tables:
    """The repositories of this process; those of a test's virtual time apart from the real ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_clock: WeakKeyDictionary[clock.Clock, Table[str, _Repository]] = WeakKeyDictionary()

    @property
    def current(self) -> Table[str, _Repository]:
        with self._lock:
            if (table := self._by_clock.get(clock.current)) is None:
                table = self._by_clock[clock.current] = Table(_Repository, _Repository.is_over)
            return table


_tables = PerProcess(_Tables)


class MemoryBudget(StoredBudget):
    """A `CommitBudget` in the memory of this process. All objects of this class share one count."""

    def open(self) -> None:
        pass  # always there

    def decide(self, name: str, own: Quota, decision: Callable[[Window], T]) -> tuple[T, Window]:
        with _tables.value.current.used(name) as repository, repository.lock:
            window = _MemoryWindow(repository, own)
            return decision(window), window


def milliseconds() -> int:
    """The package's monotonic clock, which no change of the wall clock moves."""
    return round(clock.monotonic() * 1e6) // 1000
