"""What one process knows of a repository's window: its own commits and slots, and the commits others showed it.

A sliding log in which slots handed out count as commits to come. No I/O, and all moments on the monotonic clock.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from huggingface_hub import constants

from mat_vis_hub._internal import clock
from mat_vis_hub.budget.protocol import BudgetStatus, Reservation
from mat_vis_hub.retry_after import Cooldown

_OTHERS = 4  # writers that are thought to commit as often as we do ...
_HASTE = 4  # ... and, all together, the whole limit in this part of a window
_SPREAD = 0.01  # of a window; by how much a wait is prolonged at the most
_SOON = 1.0  # seconds
_LATENESS = 5.0  # seconds by which the history may date a commit of ours after its end


def worth_a_look(room: int, used: int, age: float, *, limit: int, window: float) -> bool:
    """
    Whether others may have used up the `room` that was left when the history was looked at, `age` seconds ago.

    Nobody knows how many they are. One that commits is thought to have others at its side that commit as often (a
    matrix), and one that has rested to have missed a share of the limit. So while there is much room, few commits
    cost a look; for the last slot each does.

    Args:
        room (`int`): Slots that seem to be free.
        used (`int`): Slots that we used since that look.
        age (`float`): Seconds since it; infinite if there was none.
        limit (`int`), window (`float`): The quota.
    """
    return _OTHERS * used + _HASTE * limit * age / window >= room


class _Place(NamedTuple):
    """When a slot may be used, and how often the history had been looked at when that was said."""

    moment: float
    looks: int


class _Sent(NamedTuple):
    """A commit of ours: the slot that it used, and when it was over."""

    place: _Place
    ended: float


@dataclass
class HistoryWindow:
    """One repository's count. Whoever uses it holds its lock."""

    limit: int
    window: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    revisions: list[str] = field(default_factory=lambda: [constants.DEFAULT_REVISION])
    seen: dict[str, float] = field(default_factory=dict)  # when each commit of the history was made, at the latest
    _unclaimed: dict[str, int] = field(default_factory=dict)  # which of them may be ours, and the look that found it
    _ours: list[_Sent] = field(default_factory=list)  # those that the history has not shown
    _waiting: dict[str, _Place] = field(default_factory=dict)  # slots not settled yet, first come first
    _closed_until: float = -math.inf
    _looked_at: float = -math.inf
    _looks: int = 0
    _used: int = 0  # slots, since that look

    def place(self, slot_id: str) -> Reservation:
        """The slot of this name, new or as it stands now."""
        now = clock.monotonic()
        counted = self._counted(now, slot_id)
        moment = self._earliest(now, counted)
        reason = "refused" if moment == self._closed_until else "budget"
        if moment > now:
            if (soon := self._soon_certain(now, counted, slot_id)) is not None:
                moment = soon
            elif reason == "budget":  # a refusal's wait has been spread by the policy
                moment += _SPREAD * self.window * random.random()
            moment = max([moment, *(place.moment for place in self._ahead(slot_id))])  # nobody is overtaken
        else:
            self._used += 1
        self._waiting[slot_id] = _Place(moment, self._looks)
        return Reservation(slot_id, moment - now, bisect.bisect_right(counted, now), self.limit, reason)

    def drop(self, slot_id: str) -> None:
        """It was not used."""
        self._waiting.pop(slot_id, None)

    def spend(self, slot_id: str) -> None:
        """It was used until now."""
        now = clock.monotonic()
        self._count(_Sent(self._waiting.pop(slot_id, _Place(now, self._looks)), now))

    def close(self, cooldown: Cooldown) -> None:
        """No commit is sent during the cooldown, and none afterwards without a look at the history."""
        limit, window = cooldown.limit or self.limit, cooldown.window or self.window
        if window != self.window:
            self.seen, self._unclaimed = {}, {}  # the next look goes as far back as the new window
        self.limit, self.window = limit, window
        self._closed_until = max(self._closed_until, clock.monotonic() + cooldown.wait)
        self._looked_at = -math.inf

    def name(self, revision: str) -> None:
        """A branch to look at."""
        if revision not in self.revisions:
            self.revisions.append(revision)
            self._looked_at = -math.inf

    def needs_a_look(self, slot_id: str | None) -> bool:
        """Whether the history decides if the slot can be used now. A look finds more commits and never fewer."""
        now = clock.monotonic()
        counted = self._counted(now, slot_id)
        room, age = self.limit - len(counted), now - self._looked_at
        may_go = self._earliest(now, counted) <= now
        return may_go and worth_a_look(room, self._used, age, limit=self.limit, window=self.window)

    def note(self, shown: Mapping[str, float], asked_at: float) -> None:
        """A look, begun then, has shown these commits, made at these moments at the latest."""
        self._looked_at, self._looks, self._used = asked_at, self._looks + 1, 0
        forgotten = asked_at - self.window
        self.seen = {oid: moment for oid, moment in {**self.seen, **shown}.items() if moment > forgotten}
        self._unclaimed.update(dict.fromkeys(shown, self._looks))
        self._unclaimed = {oid: look for oid, look in self._unclaimed.items() if oid in self.seen}
        self._waiting = {id: place for id, place in self._waiting.items() if place.moment > forgotten}
        ours, self._ours = self._ours, []
        for sent in ours:
            if sent.ended > forgotten:
                self._count(sent)

    def status(self) -> BudgetStatus:
        now = clock.monotonic()
        counted = self._counted(now)
        free = [now] * (self.limit - len(counted)) + [moment + self.window for moment in counted[-self.limit :]]
        frees_in = (max(moment, self._closed_until) - now for moment in free)
        return BudgetStatus(len(counted), self.limit, self.window, tuple(wait for wait in frees_in if wait > 0))

    def _count(self, sent: _Sent) -> None:
        """Count a commit of ours once: as the history shows it, or by itself for as long as it does not."""
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

    def _counted(self, now: float, slot_id: str | None = None) -> list[float]:
        """The moments that count, oldest first: of commits, and of the slots ahead of this one."""
        moments = [*self.seen.values(), *(sent.ended for sent in self._ours)]
        moments += (max(place.moment, now) for place in self._ahead(slot_id))
        return sorted(moment for moment in moments if moment > now - self.window)

    def _soon_certain(self, now: float, counted: list[float], slot_id: str) -> float | None:
        """
        When to ask again, if there is room should our commits under way be among those that the history shows.

        That is known once they have ended. Until then they count twice.
        """
        shown = set(self._unclaimed)
        counted = counted.copy()
        twice = []
        for place in self._ahead(slot_id):
            if (oid := self._shown(_Sent(place, now), shown)) is not None:
                shown.remove(oid)
                counted.remove(now)
                twice.append(place.moment)
        if not twice or self._earliest(now, counted) > now:
            return None
        return now + max(_SOON, now - min(twice))  # the longer they take, the longer they may yet

    def _ahead(self, slot_id: str | None) -> Iterator[_Place]:
        return (self._waiting[id] for id in itertools.takewhile(lambda id: id != slot_id, self._waiting))

    def _earliest(self, now: float, counted: list[float]) -> float:
        free = counted[-self.limit] + self.window if len(counted) >= self.limit else now
        return max(now, self._closed_until, free)
