"""A log in a bucket of pyrate-limiter, which counts it and says where the next slot lies."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from pyrate_limiter import AbstractBucket, Decision, RateItem

from mat_vis_hub.budget.log import COUNTED, WAITING, Log, Quota, new_id
from mat_vis_hub.budget.protocol import Slot


class CountedLog(Log):
    """A log that nobody else changes while a decision is made."""

    bucket: AbstractBucket
    item: type[RateItem] = RateItem

    @abstractmethod
    def note(self, quota: Quota) -> None:
        """From now on, for all sharers, this is the quota."""

    def take(self) -> Slot:
        entries = self.entries()
        slot, at = new_id(self.now, len(entries)), max(self.now, self.quota.closed_until or self.now)
        reopened = self.quota.reopening(self.now) is not None
        while later := self.put(f"{WAITING if reopened or at > self.now else COUNTED}{slot}", at):
            at += later
        return self.recheck(slot) if reopened else self.slot(slot, at - self.now, self.used(entries))

    def put(self, name: str, at: int) -> int:
        """Add an entry if there is room for it then: 0. If not, how many milliseconds later there may be."""
        decision = self.bucket.put_decision(self.item(name, at))
        assert isinstance(decision, Decision)  # no bucket of ours is asynchronous
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
