"""What one process knows of a repository's window: its own commits, and those that the history has shown it.

A sliding window in which reservations count as commits to come. No I/O; all moments are on the monotonic clock.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from mat_vis_hub._internal import clock
from mat_vis_hub.budget.protocol import MOST_MOMENTS, BudgetStatus, Reservation
from mat_vis_hub.retry_after import Cooldown

_OTHERS = 4  # writers that are assumed to commit as often as we do ...
_HASTE = 4  # ... and, all together, the whole limit in this part of a window
_SPREAD = 0.01  # of a window; by how much a wait is prolonged at the most
_SOON = 1.0  # seconds
_LATENESS = 5.0  # seconds by which the history may date a commit of ours after its end
_MOST_AT_FIRST = 30  # branches and pull requests to read at the first look, a request for each
_QUOTA_WINDOWS = 3  # how many windows a quota holds after the last refusal that named it


def worth_a_look(room: int, used: int, age: float, *, limit: int, window: float) -> bool:
    """
    Whether others may have used up the `room` that was left when the history was read, `age` seconds ago.

    Nobody knows how many others there are. A writer that commits is assumed to have others beside it that commit as
    often (a CI matrix), and one that has paused to have missed a share of the limit. So while there is much room, the
    history is read rarely; for the last commit of a window, always.

    Args:
        room (`int`): Commits for which there seems to be room.
        used (`int`): Reservations of ours since the history was read.
        age (`float`): Seconds since then; infinite if it never was.
        limit (`int`), window (`float`): The quota.
    """
    return _OTHERS * used + _HASTE * limit * age / window >= room


def most_likely(heads: Mapping[str, str]) -> list[str]:
    """Which branches to read if nothing is known but their newest commits: the first ones, so that it ends soon."""
    return _one_each(heads)[:_MOST_AT_FIRST]


def _one_each(heads: Mapping[str, str]) -> list[str]:
    """One branch for each newest commit."""
    names: dict[str, str] = {}
    for name, oid in heads.items():
        names.setdefault(oid, name)
    return list(names.values())


class _Place(NamedTuple):
    """When a reservation may be used, and how often the history had been read when that was decided."""

    moment: float
    looks: int


class _Sent(NamedTuple):
    """A commit of ours: its reservation, and when it ended."""

    place: _Place
    ended: float


class HistoryWindow:
    """
    One repository's count. The caller holds its `lock`.

    Args:
        limit (`int`), window (`float`): The quota, in commits and seconds, until a refusal names another.
    """

    def __init__(self, limit: int, window: float) -> None:
        self.limit, self.window = self._own = (limit, window)
        self.lock = threading.Lock()
        self._heads: frozenset[str] = frozenset()  # the newest commits of all branches at the last look
        self.seen: dict[str, float] = {}  # when each commit of the history was made, at the latest
        self._unclaimed: dict[str, int] = {}  # which of them may be ours, and the look that found it
        self._ours: list[_Sent] = []  # those that the history has not shown
        self._waiting: dict[str, _Place] = {}  # reservations that are not settled yet, in order
        self._closed_until = -math.inf
        self._named_until = -math.inf  # until when the quota that a refusal named holds
        self._looked_at = -math.inf
        self._looks = 0
        self._used = 0  # reservations since that look

    def is_over(self) -> bool:
        """Whether nothing in here matters any more."""
        now = clock.monotonic()
        moments = [*self.seen.values(), *(sent.ended for sent in self._ours)]
        moments += (self._looked_at, *(place.moment for place in self._waiting.values()))
        return now > max([self._closed_until, self._named_until, *(moment + self.window for moment in moments)])

    def place(self, id: str) -> Reservation:
        """The reservation of this id, new or as it stands now."""
        self._use_own_quota_again()
        now = clock.monotonic()
        counted = self._counted(now, id)
        moment = self._earliest(now, counted)
        reason = "refused" if moment == self._closed_until else "budget"
        if moment > now:
            if (soon := self._soon_certain(now, counted, id)) is not None:
                moment = soon
            elif reason == "budget":  # the policy has spread the wait of a refusal already
                moment += _SPREAD * self.window * random.random()
            moment = max([moment, *(place.moment for place in self._ahead(id))])  # first come, first served
        else:
            self._used += 1
        self._waiting[id] = _Place(moment, self._looks)
        return Reservation(id, moment - now, bisect.bisect_right(counted, now), self.limit, reason)

    def cancel(self, id: str) -> None:
        """The commit was not counted."""
        self._waiting.pop(id, None)

    def confirm(self, id: str) -> None:
        """The commit has just ended. If it was sent in spite of a refusal, that refusal is over."""
        now = clock.monotonic()
        place = self._waiting.pop(id, _Place(now, self._looks))
        if now < self._closed_until <= place.moment:
            self._close_until(now)
        if place.moment > now:  # sent without waiting, nobody knows when
            place = place._replace(moment=-math.inf)
        self._count(_Sent(place, now))

    def close(self, cooldown: Cooldown) -> None:
        """No commit is sent during the cooldown, and none after it before the history has been read."""
        if cooldown.limit or cooldown.window:
            self._use_quota(cooldown.limit or self.limit, cooldown.window or self.window)
            self._named_until = clock.monotonic() + _QUOTA_WINDOWS * self.window
        self._close_until(clock.monotonic() + cooldown.wait)
        self._looked_at = -math.inf

    def moved(self, heads: Mapping[str, str]) -> list[str]:
        """Which of these branches to read, given their newest commits: those that have moved since the last look."""
        if not self._heads:
            return most_likely(heads)
        return _one_each({name: oid for name, oid in heads.items() if oid not in self._heads and oid not in self.seen})

    def needs_a_look(self, id: str | None) -> bool:
        """Whether it depends on the history if a commit can be sent now. A look finds more commits, never fewer."""
        self._use_own_quota_again()
        now = clock.monotonic()
        counted = self._counted(now, id)
        room, age = self.limit - len(counted), now - self._looked_at
        may_go = self._earliest(now, counted) <= now
        return may_go and worth_a_look(room, self._used, age, limit=self.limit, window=self.window)

    def note(self, shown: Mapping[str, float], asked_at: float, heads: Iterable[str] = ()) -> None:
        """
        The history, read from that moment on, has shown these commits, made at these moments at the latest.

        `heads` are the newest commits of all branches, which need not be read again until they move.
        """
        self._heads = frozenset(heads)
        self._looked_at, self._looks, self._used = asked_at, self._looks + 1, 0
        outdated = asked_at - self.window
        self.seen = {oid: moment for oid, moment in {**self.seen, **shown}.items() if moment > outdated}
        self._unclaimed.update(dict.fromkeys(shown, self._looks))
        self._unclaimed = {oid: look for oid, look in self._unclaimed.items() if oid in self.seen}
        self._waiting = {id: place for id, place in self._waiting.items() if place.moment > outdated}
        ours, self._ours = self._ours, []
        for sent in ours:
            if sent.ended > outdated:
                self._count(sent)

    def status(self) -> BudgetStatus:
        self._use_own_quota_again()
        now = clock.monotonic()
        counted = self._counted(now)
        frees_in = [max(moment + self.window, self._closed_until) - now for moment in counted[-self.limit :]]
        if self._closed_until > now:
            free_then = min(max(0, self.limit - len(counted)), MOST_MOMENTS)
            frees_in = [self._closed_until - now] * free_then + frees_in
        waits = sorted(wait for wait in frees_in if wait > 0)[:MOST_MOMENTS]
        return BudgetStatus(len(counted), self.limit, self.window, tuple(waits))

    def _use_own_quota_again(self) -> None:
        """The quota that a refusal named holds for a few windows."""
        if (self.limit, self.window) != self._own and clock.monotonic() >= self._named_until:
            self._use_quota(*self._own)

    def _use_quota(self, limit: int, window: float) -> None:
        if window != self.window:  # the history must be read anew, as far back as the new window
            self.seen, self._unclaimed, self._heads, self._looked_at = {}, {}, frozenset(), -math.inf
        self.limit, self.window = limit, window

    def _close_until(self, moment: float) -> None:
        """Reservations that waited for a later reopening wait for this one now."""
        earlier_by, closed_until = self._closed_until - moment, self._closed_until
        if earlier_by > 0 and closed_until > clock.monotonic():
            for id, place in self._waiting.items():
                if place.moment >= closed_until:
                    self._waiting[id] = place._replace(moment=place.moment - earlier_by)
        self._closed_until = moment

    def _count(self, sent: _Sent) -> None:
        """Count a commit of ours once: as the history shows it, or by itself as long as the history does not."""
        if (oid := self._shown(sent, self._unclaimed)) is not None:
            del self._unclaimed[oid]
        else:
            self._ours.append(sent)

    def _shown(self, sent: _Sent, among: Iterable[str]) -> str | None:
        """Which of these commits of the history may be that one of ours."""
        fitting = (
            oid
            for oid in among
            if self._unclaimed[oid] > sent.place.looks and sent.place.moment <= self.seen[oid] <= sent.ended + _LATENESS
        )
        return min(fitting, key=self.seen.__getitem__, default=None)  # the later ones may be our later ones

    def _counted(self, now: float, id: str | None = None) -> list[float]:
        """The moments that count, oldest first: of commits, and of the reservations ahead of this one."""
        moments = [*self.seen.values(), *(sent.ended for sent in self._ours)]
        moments += (max(place.moment, now) for place in self._ahead(id))
        return sorted(moment for moment in moments if moment > now - self.window)

    def _soon_certain(self, now: float, counted: list[float], id: str) -> float | None:
        """
        When to ask again, if there is room in case our commits under way are among those that the history shows.

        That is known once they have ended. Until then they count twice.
        """
        shown = set(self._unclaimed)
        counted = counted.copy()
        twice = []
        for place in self._ahead(id):
            if (oid := self._shown(_Sent(place, now), shown)) is not None:
                shown.remove(oid)
                counted.remove(now)
                twice.append(place.moment)
        if not twice or self._earliest(now, counted) > now:
            return None
        return now + max(_SOON, now - min(twice))  # the longer they take, the longer they may still take

    def _ahead(self, id: str | None) -> Iterator[_Place]:
        return (self._waiting[other] for other in itertools.takewhile(lambda other: other != id, self._waiting))

    def _earliest(self, now: float, counted: list[float]) -> float:
        free = counted[-self.limit] + self.window if len(counted) >= self.limit else now
        return max(now, self._closed_until, free)
