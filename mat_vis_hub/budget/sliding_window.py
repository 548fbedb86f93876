"""A log of commits for one repository, and the rule by which a slot's moment is read off it.

A log holds an entry per slot: who, when, and whether the slot is still waited for. pyrate-limiter counts it (an exact
sliding window) and says where the next slot lies; that moment is reserved at once, so those who ask first go first. A
slot of a writer that dies leaves with its window and holds nobody up for longer.

The Hub counts a commit when it carries it out, later than the slot was taken. So `spent` moves the entry to the end of
the commit, and a writer whose wait is over rechecks: entries that have moved may have to leave first. It counts the
commits of others, and the waiting slots that were taken before its own; not those behind it. So the order slips in two
cases only: a slot given back goes to whoever asks next, while reservations keep their moment (or, where that fills the
window again, move by that one slot); and a refused commit asks anew, behind those who wait by then.

A refusal closes the log for all, and shows that somebody commits past it. How many commits those are and when they
leave is unknown: with a fixed window all of them at the reopening, with a sliding one perhaps one at a time. So after a
reopening the writers go one, two, four, ... a step apart. Where the Hub takes them, this costs a few seconds; where it
does not, the first refusal closes the log again before the others have met their own, until the moment it names. What
the log knows itself goes on counting all the while, and is enough for either kind of window: no window of that length,
wherever it begins, holds more than the limit.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from mat_vis_hub.budget.protocol import BudgetStatus, Reservation

WAITING, COUNTED = "w", "c"  # an entry's first letter; the rest of its name is the slot's id
BEYOND = "x"  # sorts behind all names
_STEP = 2000  # ms between the first writers after a reopening: time for a commit to be refused ...
_STEPS = 50  # ... but at most this part of a window


class Entry(NamedTuple):
    """One slot in a log. `at` is in milliseconds on the log's own clock."""

    name: str
    at: int

    @property
    def waiting(self) -> bool:
        return self.name.startswith(WAITING)

    @property
    def slot(self) -> str:
        return self.name[1:]


@dataclass(frozen=True)
class Quota:
    """What a window takes, as far as is known, and until when nothing goes. Milliseconds."""

    limit: int
    window: int
    closed_until: int | None = None

    def is_closed(self, now: int) -> bool:
        return self.closed_until is not None and self.closed_until > now

    def reopening(self, now: int) -> int | None:
        """When the log reopens or has reopened, if less than a window has passed since."""
        if self.closed_until is None or self.closed_until + self.window <= now:
            return None
        return self.closed_until


class Log(ABC):
    """
    One repository's log, for the length of one decision. `now` and all moments are milliseconds on its own clock.

    `now` and `quota` are good once `take` or `entries` has been called.
    """

    now: int
    quota: Quota

    @abstractmethod
    def reserve(self) -> Reservation:
        """The next slot, reserved."""

    @abstractmethod
    def entries(self, before: str = BEYOND, but: str = "") -> list[Entry]:
        """Those whose names sort before that one, but for that other one; in any order."""

    @abstractmethod
    def move(self, slot: str, state: str, at: int | None = None) -> None:
        """Have the slot's entry there (`None`: now), whether it had one or not."""

    @abstractmethod
    def remove(self, slot: str) -> None: ...

    @abstractmethod
    def close_for(self, wait: int, limit: int | None, window: int | None) -> None:
        """Nobody goes for so long; what quota is named replaces the present one."""

    def settle(self, slot: str, at: int, used: int) -> Reservation:
        """The slot that has just been put there. The first after a reopening take their steps."""
        return self.slot(slot, at - self.now, used) if self.quota.reopening(at) is None else self.renew(slot)

    def renew(self, slot: str) -> Reservation:
        """The slot as it stands now: to be used, or moved to the moment that it has to wait for."""
        ahead = self.ahead(slot)
        at = earliest(ahead, self.now, self.quota)
        self.move(slot, WAITING if at > self.now else COUNTED, at)
        return self.slot(slot, at - self.now, self.used(ahead))

    def ahead(self, slot: str) -> list[Entry]:
        """What is counted, and what has waited for longer: one stretch of names, however many wait behind."""
        return self.entries(before=WAITING + slot, but=COUNTED + slot)

    def slot(self, slot: str, wait: int, used: int) -> Reservation:
        reason = "refused" if self.quota.is_closed(self.now) else "budget"
        return Reservation(slot, wait / 1000, min(used, self.quota.limit), self.quota.limit, reason)

    def used(self, entries: list[Entry]) -> int:
        """How many of them lie in the window that ends now."""
        now, opened = self.now, self.now - self.quota.window
        return len([at for _, at in entries if opened <= at <= now])

    def status(self) -> BudgetStatus:
        entries, now, quota = self.entries(), self.now, self.quota
        moments = sorted(entry.at for entry in entries if entry.at >= now - quota.window)
        frees = [now] * (quota.limit - len(moments)) + [at + quota.window + 1 for at in moments[-quota.limit :]]
        waits = [(max(at, quota.closed_until or now) - now) / 1000 for at in frees]
        return BudgetStatus(len(moments), quota.limit, quota.window / 1000, tuple(wait for wait in waits if wait > 0))

    def backfill(self, ages: list[float]) -> None:
        """Count the commits of the history that the log does not know. What it knows are the latest of them."""
        known = self.used([entry for entry in self.entries() if not entry.waiting])
        ages = sorted((age for age in ages if 0 <= age * 1000 <= self.quota.window), reverse=True)
        for number, age in enumerate(ages[: max(0, len(ages) - known)]):
            self.move(new_id(self.now, number), COUNTED, self.now - int(age * 1000))


def new_id(now: int, entries: int) -> str:
    """Sorts by when it was made, and among so many entries, so that the slot's place in the queue is read off it."""
    return f"{now:014d}-{entries:06d}-{uuid.uuid4().hex[:12]}"


def earliest(ahead: list[Entry], now: int, quota: Quota) -> int:
    """The first moment from now on at which the slot may be used, given what is ahead of it."""
    at = now
    if len(ahead) >= quota.limit:
        at = max(at, sorted(entry.at for entry in ahead)[-quota.limit] + quota.window + 1)
    if (reopening := quota.reopening(now)) is not None:
        gone = sum(entry.waiting or entry.at >= reopening for entry in ahead)
        step = min(_STEP, quota.window // _STEPS)
        at = max(at, reopening + step * ((gone + 1).bit_length() - 1))
    return at
