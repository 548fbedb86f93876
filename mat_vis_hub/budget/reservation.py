"""One call's slot in a budget: taken, waited for, and settled by how the call ended."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from mat_vis_hub._hub.errors import may_have_landed
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub.budget.protocol import CommitBudget, Reservation
from mat_vis_hub.retry_after import Cooldown


class ReservedCommit:
    """
    A slot for the length of a `with` block; without a budget, none.

    Args:
        budget (`CommitBudget`, *optional*): Who counts.
        repository (`Repository`): Whose commits.
        wait (`Callable`):
            Called with the slot while it cannot be used yet, as often as it takes. `False` goes all the same, and is
            counted all the same: the Hub then says itself whether there was room.
    """

    def __init__(
        self,
        budget: CommitBudget | None,
        repository: Repository,
        wait: Callable[[Reservation], bool],
    ) -> None:
        self._budget = budget
        self._repository = repository
        self._wait = wait
        self._slot: Reservation | None = None

    def __enter__(self) -> ReservedCommit:
        if self._budget is None:
            return self
        self._slot = slot = self._budget.reserve(self._repository)
        try:
            while slot.wait > 0:
                if not self._wait(slot):
                    break
                self._slot = slot = self._budget.renew(self._repository, slot)
        except BaseException:  # Ctrl-C in the wait: nothing has been sent
            self.cancel()
            raise
        return self

    def refused(self, cooldown: Cooldown) -> None:
        """The Hub refused the commit: cancel the reservation, and share what the refusal asks for."""
        if self._budget is not None:
            slot, self._slot = self._slot, None
            self._budget.refused(self._repository, slot, cooldown)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Counted, unless it is certain that it was not."""
        if isinstance(error, Exception) and not may_have_landed(error):
            self.cancel()
        elif self._budget is not None and self._slot is not None:
            slot, self._slot = self._slot, None
            self._budget.confirm(self._repository, slot)

    def cancel(self) -> None:
        """The commit was certainly not counted."""
        if self._budget is not None and self._slot is not None:
            slot, self._slot = self._slot, None
            self._budget.cancel(self._repository, slot)
