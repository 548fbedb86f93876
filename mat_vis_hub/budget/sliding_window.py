"""The rule by which a budget grants commits: an exact sliding window with a queue, the same wherever it is kept.

A window counts the commits that were granted or made, and queues the reservations that still wait. A reservation gets
the earliest moment at which it fits behind those that are counted and those ahead of it in the queue. That moment is
fixed when it is reserved, so those who ask first go first, and nobody polls.

* The Hub counts a commit when it carries it out, later than it was granted. So `confirm` counts it from its end, and a
  reservation whose wait is over is renewed: it may have to wait for commits that took longer.
* A cancelled reservation leaves its place in the queue to the next one that is made, for up to a fiftieth of a window.
  The others keep their moments, since nobody could wake them any earlier.
* A reservation whose writer dies leaves with its window.
* A refusal closes the window for everyone, and shows that somebody commits outside the budget. Nobody knows how many
  commits those are or when they leave the Hub's own window. So after a reopening the writers go one, two, four, ... a
  step apart; if the Hub refuses again, few have met that refusal. A later refusal replaces an earlier one, and a commit
  that lands in spite of it reopens the window.

No interval of the window's length, wherever it begins, holds more commits than the limit.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from mat_vis_hub.budget.protocol import MOST_MOMENTS, BudgetStatus, Reservation
from mat_vis_hub.retry_after import Cooldown

NEVER = -(1 << 50)  # ms; earlier than any moment of any clock, and exact in the doubles of Redis
STEP = 2000  # ms between the first writers after a reopening: time for a commit to be refused ...
PART = 50  # ... but at most this part of a window
QUOTA_WINDOWS = 3  # how many windows a quota holds after the last refusal that named it, or use by a sharer


class Quota(NamedTuple):
    """How many commits a window takes, and its length in milliseconds. The larger quota comes later in order."""

    limit: int
    window: int


@dataclass
class Row:
    """What is known of a repository besides its commits. All moments are milliseconds on the clock of the place."""

    limit: int = 0
    window: int = 0
    quota_until: int = NEVER  # until when that quota holds
    named: int = 0  # 1 if a refusal named it
    longest: int = 0  # window of any sharer: entries are kept that long
    closed_until: int = NEVER
    last_place: int = NEVER  # in the queue, that was given to a reservation
    over_at: int = NEVER  # when nothing of all this matters any more


class Queue(NamedTuple):
    """The waiting reservations ahead of a place: how many (no more than the limit), and the moments of two of them."""

    length: int = 0
    last: int = NEVER
    at_limit: int = NEVER  # the one as many places ahead as the limit


class Entry(NamedTuple):
    moment: int
    waiting: bool


class Window(ABC):
    """One repository's window for the length of one decision."""

    other_quota: Quota | None = None  # after a decision: the quota of other sharers, if it is in force instead

    @abstractmethod
    def reserve(self) -> Reservation: ...

    @abstractmethod
    def renew(self, id: str) -> Reservation: ...

    @abstractmethod
    def confirm(self, id: str) -> None: ...

    @abstractmethod
    def cancel(self, id: str) -> None: ...

    @abstractmethod
    def refuse(self, id: str | None, cooldown: Cooldown) -> None: ...

    @abstractmethod
    def status(self) -> BudgetStatus: ...

    @abstractmethod
    def backfill(self, ages: list[int]) -> None:
        """Count commits of the history, so many milliseconds old. Those that are counted already are the latest."""


class SlidingWindow(Window):
    """
    The rule. A subclass stores the entries; nobody else changes them during the decision.

    Args:
        now (`int`): Milliseconds on the clock of the place.
        row (`Row`): The repository's; changed in place.
        own (`Quota`): The quota of the budget that decides.
    """

    def __init__(self, now: int, row: Row, own: Quota) -> None:
        self.now = now
        self.row = row
        self._agree(own)

    def reserve(self) -> Reservation:
        place = self.take_open_place()
        if place is None:
            place = max(self.row.last_place + 1, self.now * 1000)  # by the clock, if the row has been lost
        return self._settle(new_id(place), place)

    def renew(self, id: str) -> Reservation:
        place = place_of(id)
        self.remove(id)
        return self.reserve() if place is None else self._settle(id, place)

    def confirm(self, id: str) -> None:
        entry = self.remove(id)
        self.put(id, 0, self.now, waiting=False)
        self._keep_for(0)
        if entry is not None and entry.waiting and self.now < self.row.closed_until <= entry.moment:
            self._close_until(self.now)  # it was sent in spite of the refusal, and landed

    def cancel(self, id: str) -> None:
        entry, place = self.remove(id), place_of(id)
        if entry is not None and place is not None and self.last_waiting() > place:
            self.leave_open(place, max(entry.moment, self.now) + self.row.window // PART)

    def refuse(self, id: str | None, cooldown: Cooldown) -> None:
        if id is not None:
            self.cancel(id)
        row, wait = self.row, round(cooldown.wait * 1000)
        if cooldown.limit or cooldown.window:
            row.limit = cooldown.limit or row.limit
            row.window = round((cooldown.window or 0) * 1000) or row.window
            row.longest = max(row.longest, row.window)
            row.quota_until, row.named = self.now + QUOTA_WINDOWS * row.window, 1
        self._close_until(self.now + wait)
        self._keep_for(wait)

    def status(self) -> BudgetStatus:
        used, latest = self.latest(self.now - self.row.window, self.row.limit, MOST_MOMENTS)
        return status_of(self.now, self.row, used, latest)

    def backfill(self, ages: list[int]) -> None:
        known = self.count(self.now - self.row.window)
        ages = sorted((age for age in ages if 0 <= age <= self.row.window), reverse=True)
        for age in ages[: max(0, len(ages) - known)]:
            self.put(new_id(0), 0, self.now - age, waiting=False)
        self._keep_for(0)

    def _settle(self, id: str, place: int) -> Reservation:
        """Grant the reservation, or put it where it fits."""
        now, limit = self.now, self.row.limit
        self.row.last_place = max(self.row.last_place, place)
        queue = self.queue(place, limit)
        moment = max(now, self._earliest(queue), queue.last)
        used = min(self.count(now - self.row.window), limit)
        self.put(id, place, moment, waiting=moment > now)
        self._keep_for(moment - now)
        reason = "refused" if self.row.closed_until > now else "budget"
        return Reservation(id, (moment - now) / 1000, used, limit, reason)

    def _earliest(self, queue: Queue) -> int:
        row, earliest = self.row, NEVER
        if queue.length >= row.limit:
            earliest = queue.at_limit + row.window + 1
        elif (moment := self.counted(row.limit - queue.length)) is not None:
            earliest = moment + row.window + 1
        if row.closed_until + row.window > self.now:
            gone = queue.length + self.count(row.closed_until)
            step = min(STEP, row.window // PART)
            earliest = max(earliest, row.closed_until + step * ((gone + 1).bit_length() - 1))
        return earliest

    def _agree(self, own: Quota) -> None:
        """One quota for all sharers: the one that a refusal named, or else the largest."""
        row = self.row
        row.longest = max(row.longest, own.window)
        shared = Quota(row.limit, row.window)
        in_force = self.now < row.quota_until
        if in_force and row.named:
            return
        if in_force and own < shared:
            self.other_quota = shared
            return
        if own != shared or row.quota_until < self.now + (QUOTA_WINDOWS - 1) * own.window:  # seldom: the row is written
            row.limit, row.window, row.named = own.limit, own.window, 0
            row.quota_until = self.now + QUOTA_WINDOWS * own.window

    def _close_until(self, moment: int) -> None:
        earlier_by = self.row.closed_until - moment
        if earlier_by > 0 and self.row.closed_until > self.now:
            self.shift(self.row.closed_until, -earlier_by)
        self.row.closed_until = moment

    def _keep_for(self, wait: int) -> None:
        over_at = self.now + wait + QUOTA_WINDOWS * self.row.longest
        if over_at > self.row.over_at:
            self.row.over_at = over_at + self.row.longest  # seldom, as above

    @abstractmethod
    def queue(self, place: int, limit: int) -> Queue:
        """The reservations that wait ahead of that place."""

    @abstractmethod
    def last_waiting(self) -> int:
        """The last place at which a reservation waits; `NEVER` if none does."""

    @abstractmethod
    def counted(self, nth: int) -> int | None:
        """The moment of the `nth` latest commit that is counted, if there are so many."""

    @abstractmethod
    def count(self, since: int) -> int:
        """How many commits are counted from that moment on."""

    @abstractmethod
    def latest(self, since: int, limit: int, most: int) -> tuple[int, list[int]]:
        """How many entries there are from that moment on; of the `limit` latest the `most` earliest moments, sorted."""

    @abstractmethod
    def put(self, id: str, place: int, moment: int, *, waiting: bool) -> None:
        """Add an entry."""

    @abstractmethod
    def remove(self, id: str) -> Entry | None:
        """Remove an entry, if there is one."""

    @abstractmethod
    def take_open_place(self) -> int | None:
        """Remove the first place that a cancelled reservation has left open and that has not expired."""

    @abstractmethod
    def leave_open(self, place: int, until: int) -> None:
        """A place in the queue that the next reservation may take until then."""

    @abstractmethod
    def shift(self, since: int, by: int) -> None:
        """Move the moments of all reservations that wait until that moment or later."""


def status_of(now: int, row: Row, used: int, latest: list[int]) -> BudgetStatus:
    """The status, given the moments of the latest entries as `SlidingWindow.latest` has them."""
    waits = [moment + row.window + 1 - now for moment in latest]
    if (closed := row.closed_until - now) > 0:
        free_then = min(max(row.limit - used, 0), MOST_MOMENTS)
        waits = sorted([closed] * free_then + [max(wait, closed) for wait in waits])[:MOST_MOMENTS]
    return BudgetStatus(used, row.limit, row.window / 1000, tuple(wait / 1000 for wait in waits if wait > 0))


def new_id(place: int) -> str:
    """An id that names the reservation's place in the queue, so that a place which has forgotten it can go on."""
    return f"{place}-{uuid.uuid4().hex[:12]}"


def place_of(id: str) -> int | None:
    """The place in the queue; `None` if the id is not one of ours."""
    place, dash, _ = id.partition("-")
    return int(place) if dash and place.isascii() and place.isdigit() and len(place) < 18 else None
