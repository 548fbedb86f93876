"""A log in a bucket of pyrate-limiter, which counts it and says where the next slot lies."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from pyrate_limiter import AbstractBucket, Decision, RateItem

from mat_vis_hub.budget.protocol import Reservation
from mat_vis_hub.budget.sliding_window import COUNTED, WAITING, Log, Quota, new_id


class CountedLog(Log):
    """A log that nobody else changes while a decision is made."""

    bucket: AbstractBucket

    @abstractmethod
    def between(self, first: int, last: int) -> int:
        """How many entries lie there, both ends included."""

    @abstractmethod
    def note(self, quota: Quota) -> None:
        """From now on, for all sharers, this is the quota."""

    def reserve(self) -> Reservation:
        count = self.bucket.count()
        assert isinstance(count, int)  # no bucket of ours is asynchronous
        slot, at = new_id(self.now, count), max(self.now, self.quota.closed_until or self.now)
        used = self.between(self.now - self.quota.window, self.now)
        reopened = self.quota.reopening(self.now) is not None
        while later := self.put(f"{WAITING if reopened or at > self.now else COUNTED}{slot}", at):
            at += later
        return self.settle(slot, at, used)

    def put(self, name: str, at: int) -> int:
        """Add an entry if there is room for it then: 0. If not, how many milliseconds later there may be."""
        decision = self.bucket.put_decision(RateItem(name, at))
        assert isinstance(decision, Decision)  # as above
        return 0 if decision.allowed else decision.retry_after_ms or 1

    def close_for(self, wait: int, limit: int | None, window: int | None) -> None:
        self.note(
            replace(
                self.quota,
                limit=limit or self.quota.limit,
                window=window or self.quota.window,
                closed_until=max(self.now + wait, self.quota.closed_until or 0),
            )
        )
