"""Lets no commit die of its budget: while that fails, it is gone without, and refusals are waited out as ever."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable
from typing import TypeVar

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal import clock
from mat_vis_hub.budget.protocol import LIMIT, BudgetStatus, CommitBudget, Reservation
from mat_vis_hub.retry_after import Cooldown

T = TypeVar("T")

_PAUSE = 30.0  # seconds without the budget before it is tried again
_logger = logging.getLogger("mat_vis_hub")


class FailOpenBudget:
    """
    A `CommitBudget` that never raises on a commit's way. It says once that it fails, and once that it is back.

    `status` raises like the budget itself: who asks wants to know.

    Args:
        budget (`CommitBudget`): The one that may fail.
    """

    def __init__(self, budget: CommitBudget) -> None:
        self.budget = budget
        self._paused_until = -math.inf
        self._failing = False

    def saw(self, repository: Repository, revision: str) -> None:
        """Tell a budget that looks at branches of this one."""
        if callable(saw := getattr(self.budget, "saw", None)):
            self._try(lambda: saw(repository, revision), None)

    def reserve(self, repository: Repository) -> Reservation:
        slot = self._try(lambda: self.budget.reserve(repository), None)
        return slot if slot is not None else _unguarded(uuid.uuid4().hex)

    def renew(self, repository: Repository, slot: Reservation) -> Reservation:
        return self._try(lambda: self.budget.renew(repository, slot), _unguarded(slot.id))

    def confirm(self, repository: Repository, slot: Reservation) -> None:
        self._try(lambda: self.budget.confirm(repository, slot), None)

    def cancel(self, repository: Repository, slot: Reservation) -> None:
        self._try(lambda: self.budget.cancel(repository, slot), None)

    def refused(self, repository: Repository, reservation: Reservation | None, cooldown: Cooldown) -> None:
        self._try(lambda: self.budget.refused(repository, reservation, cooldown), None)

    def status(self, repository: Repository) -> BudgetStatus:
        return self.budget.status(repository)

    def close(self) -> None:
        self._try(self.budget.close, None)

    def _try(self, call: Callable[[], T], otherwise: T) -> T:
        if clock.monotonic() < self._paused_until:
            return otherwise
        try:
            result = call()
        except Exception as error:
            self._paused_until = clock.monotonic() + _PAUSE
            if not self._failing:
                self._failing = True
                _logger.warning(
                    "Commits go on without their budget, which is tried again every %.0f s; until then the Hub's"
                    " refusals are waited out. %s",
                    _PAUSE,
                    error,
                )
            return otherwise
        if self._failing:
            self._failing = False
            _logger.warning("The budget works again.")
        return result


def _unguarded(slot_id: str) -> Reservation:
    """Goes at once. Its id lets the budget count it all the same, if it is back by then."""
    return Reservation(slot_id, wait=0.0, used=0, limit=LIMIT)
