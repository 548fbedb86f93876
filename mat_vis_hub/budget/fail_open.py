"""Fail open: while a budget cannot be used, commits go ahead without it, and refusals are waited out."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal import clock
from mat_vis_hub.budget.protocol import LIMIT, BudgetStatus, CommitBudget, Lease, Reservation
from mat_vis_hub.retry_after import Cooldown

T = TypeVar("T")

_PAUSE = 30.0  # seconds without the budget before it is tried again
_logger = logging.getLogger("mat_vis_hub")

# A budget that raises one of these has a bug. Any other exception is a failure of its network, disk or server.
_BUGS = (TypeError, AttributeError, NameError, LookupError, AssertionError, NotImplementedError, ImportError)


class FailOpenBudget(AbstractContextManager["FailOpenBudget"]):
    """
    A `CommitBudget` that does not fail commits when its network, disk or server does.

    It logs one warning when the budget begins to fail, and one when it works again. `status` raises what the budget
    raises, and so does everything if the budget is strict (`?strict=1`). Programming errors are always raised.

    Args:
        budget (`CommitBudget`): The budget that may fail.
    """

    def __init__(self, budget: CommitBudget) -> None:
        self.budget = budget
        self._strict = bool(getattr(budget, "strict", False))
        self._paused_until = -math.inf
        self._failing = False
        self._no_lease_until = -math.inf

    def __repr__(self) -> str:
        return f"FailOpenBudget({self.budget!r})"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Connect now rather than on first use, if the budget can do so."""
        if callable(connect := getattr(self.budget, "open", None)):
            self._try(connect, None, proves=True)

    def saw(self, repository: Repository, revision: str) -> None:
        """Commits go to this branch: a budget that reads the history of branches reads this one from now on."""
        if callable(saw := getattr(self.budget, "saw", None)):
            self._try(lambda: saw(repository, revision), None)

    def reserve(self, repository: Repository) -> Reservation:
        reservation = self._try(lambda: self.budget.reserve(repository), None, proves=True)
        return reservation if reservation is not None else _at_once(uuid.uuid4().hex)

    def renew(self, repository: Repository, reservation: Reservation) -> Reservation:
        at_once = _at_once(reservation.id)
        return self._try(lambda: self.budget.renew(repository, reservation), at_once, proves=True)

    def confirm(self, repository: Repository, reservation: Reservation) -> None:
        self._try(lambda: self.budget.confirm(repository, reservation), None)

    def cancel(self, repository: Repository, reservation: Reservation) -> None:
        self._try(lambda: self.budget.cancel(repository, reservation), None)

    def refused(self, repository: Repository, reservation: Reservation | None, cooldown: Cooldown) -> None:
        self._try(lambda: self.budget.refused(repository, reservation, cooldown), None)

    def lease(self, repository: Repository) -> Lease | None:
        """The lease of that repository; `None` if the budget has none, or fails."""
        lease = getattr(self.budget, "lease", None)
        if not callable(lease) or clock.monotonic() < max(self._paused_until, self._no_lease_until):
            return None
        try:
            return _FailOpenLease(lease(repository), self._lease_failed)
        except _BUGS:
            raise
        except Exception as error:
            self._lease_failed(error)
            return None

    def _lease_failed(self, error: Exception) -> None:
        if self._strict:
            raise error
        if self._no_lease_until == -math.inf:
            _logger.warning(
                "Commits go on without the lease of their budget, so another process may commit at the same moment and"
                " one of the two be refused (409), which is waited out. %s",
                error,
            )
        self._no_lease_until = clock.monotonic() + _PAUSE

    def status(self, repository: Repository) -> BudgetStatus:
        return self.budget.status(repository)

    def close(self) -> None:
        self._paused_until = -math.inf  # what is open must be closed even if it has failed a moment ago
        self._try(self.budget.close, None)

    def _try(self, call: Callable[[], T], otherwise: T, *, proves: bool = False) -> T:
        """Call it, or return `otherwise`. `proves`: success means that the budget works, and not just that call."""
        if clock.monotonic() < self._paused_until:
            return otherwise
        try:
            result = call()
        except _BUGS:
            raise
        except Exception as error:
            if self._strict:
                raise
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
        if proves and self._failing:
            self._failing = False
            _logger.warning("The budget works again.")
        return result


class _FailOpenLease:
    """A lease that is treated as taken if it cannot be had."""

    def __init__(self, lease: Lease, failed: Callable[[Exception], None]) -> None:
        self._lease = lease
        self._failed = failed

    def acquire(self) -> bool:
        try:
            return self._lease.acquire()
        except _BUGS:
            raise
        except Exception as error:
            self._failed(error)
            return True

    def release(self) -> None:
        try:
            self._lease.release()
        except _BUGS:
            raise
        except Exception as error:  # it ends by itself, and the commit may have landed
            _logger.debug("A lease could not be given back: %s", error)


def _at_once(id: str) -> Reservation:
    """A reservation without the budget. By its id the budget counts the commit all the same, if it is back by then."""
    return Reservation(id, wait=0.0, used=0, limit=LIMIT)
