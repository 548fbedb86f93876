"""A commit that has a reservation in a budget: reserved, waited for, and settled by how the commit ended."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from mat_vis_hub._hub.errors import may_have_landed
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal import clock
from mat_vis_hub.budget.protocol import CommitBudget, Reservation
from mat_vis_hub.retry_after import Cooldown


class ReservedCommit:
    """
    A reservation for the length of a `with` block. Entering reserves and waits, leaving confirms or cancels.

    Args:
        budget (`CommitBudget`, *optional*): The budget. Without one, nothing happens.
        repository (`Repository`): The repository to commit to.
        wait (`Callable`):
            Called with the reservation and the moment at which the budget was asked, while it has to wait, as often as
            that takes. If it returns `False`, the commit goes ahead without waiting. It is counted all the same, and
            the Hub itself decides whether there is room.
    """

    def __init__(
        self,
        budget: CommitBudget | None,
        repository: Repository,
        wait: Callable[[Reservation, float], bool],
    ) -> None:
        self._budget = budget
        self._repository = repository
        self._wait = wait
        self._reservation: Reservation | None = None

    def __enter__(self) -> ReservedCommit:
        if self._budget is None:
            return self
        asked_at = clock.monotonic()
        self._reservation = reservation = self._budget.reserve(self._repository)
        try:
            while reservation.wait > 0:
                if not self._wait(reservation, asked_at):
                    break
                asked_at = clock.monotonic()
                self._reservation = reservation = self._budget.renew(self._repository, reservation)
        except BaseException:  # for example Ctrl-C during the wait: nothing has been sent
            self.cancel()
            raise
        return self

    def refused(self, cooldown: Cooldown) -> None:
        """The Hub refused the commit: cancel the reservation, and share what the refusal asks for."""
        if self._budget is not None:
            reservation, self._reservation = self._reservation, None
            self._budget.refused(self._repository, reservation, cooldown)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle(error)

    def settle(self, error: BaseException | None) -> None:
        """The commit has landed, or failed with `error`: confirm, unless it certainly did not land."""
        if isinstance(error, Exception) and not may_have_landed(error):
            self.cancel()
        elif self._budget is not None and self._reservation is not None:
            reservation, self._reservation = self._reservation, None
            self._budget.confirm(self._repository, reservation)

    def cancel(self) -> None:
        """The commit was certainly not counted."""
        if self._budget is not None and self._reservation is not None:
            reservation, self._reservation = self._reservation, None
            self._budget.cancel(self._repository, reservation)
