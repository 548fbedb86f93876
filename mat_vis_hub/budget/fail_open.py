"""Fail open: while a budget cannot be used, commits go ahead without it, and refusals are waited out."""

from __future__ import annotations

import copy
import logging
import math
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import TypeVar

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._hub.tokens import Token
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.table import Latest
from mat_vis_hub.budget.protocol import LIMIT, BudgetStatus, CommitBudget, Lease, Reservation
from mat_vis_hub.retry_after import Cooldown

T = TypeVar("T")

_PAUSE = 30.0  # seconds without the budget before it is tried again
_MOST_REPORTED = 10  # repositories in an hour whose failing budget is logged
_logger = logging.getLogger("mat_vis_hub")

# A budget that raises one of these has a bug. Any other exception is a failure of its network, disk or server.
_BUGS = (TypeError, AttributeError, NameError, LookupError, AssertionError, NotImplementedError, ImportError)


class FailOpenBudget(AbstractContextManager["FailOpenBudget"]):
    """
    A `CommitBudget` that does not fail commits when its network, disk or server does.

    A budget that fails for one repository is not used for that one, for half a minute at a time, and goes on for the
    others. One whose server or file is out of reach (`BudgetError.affects_all`) is not used for any. One warning is
    logged when the budget begins to fail, and one when it works again. `status` raises what the budget raises, and so
    does everything if the budget is strict (`?strict=1`). Programming errors are always raised.

    Args:
        budget (`CommitBudget`): The budget that may fail.
    """

    def __init__(self, budget: CommitBudget) -> None:
        self.budget = budget
        self._strict = bool(getattr(budget, "strict", False))
        self._pauses = _Pauses()
        self._lease_pauses = _Pauses()

    def __repr__(self) -> str:
        return f"FailOpenBudget({self.budget!r})"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Connect now rather than on first use, if the budget can do so."""
        if callable(connect := getattr(self.budget, "open", None)):
            self._try(None, connect, None, proves=True)

    def with_token(self, token: Token) -> FailOpenBudget:
        """The same budget, for a commit with this token."""
        with_token = getattr(self.budget, "with_token", None)
        budget: CommitBudget = with_token(token) if callable(with_token) else self.budget
        if budget is self.budget:
            return self
        twin = copy.copy(self)
        twin.budget = budget
        return twin

    def wider_quota(self, repository: Repository) -> str | None:
        """The key of the quota that is counted, if it is not the repository's own."""
        wider_quota = getattr(self.budget, "wider_quota", None)
        key: str | None = wider_quota(repository) if callable(wider_quota) else None
        return key

    def reserve(self, repository: Repository) -> Reservation:
        reservation = self._try(repository, lambda: self.budget.reserve(repository), None, proves=True)
        return reservation if reservation is not None else _at_once(uuid.uuid4().hex)

    def renew(self, repository: Repository, reservation: Reservation) -> Reservation:
        at_once = _at_once(reservation.id)
        return self._try(repository, lambda: self.budget.renew(repository, reservation), at_once, proves=True)

    def confirm(self, repository: Repository, reservation: Reservation) -> None:
        self._try(repository, lambda: self.budget.confirm(repository, reservation), None)

    def cancel(self, repository: Repository, reservation: Reservation) -> None:
        self._try(repository, lambda: self.budget.cancel(repository, reservation), None)

    def refused(self, repository: Repository, reservation: Reservation | None, cooldown: Cooldown) -> None:
        self._try(repository, lambda: self.budget.refused(repository, reservation, cooldown), None)

    def lease(self, repository: Repository) -> Lease | None:
        """The lease of that repository; `None` if the budget has none, or fails."""
        lease = getattr(self.budget, "lease", None)
        if not callable(lease) or self._pauses.includes(repository) or self._lease_pauses.includes(repository):
            return None
        failed = partial(self._lease_failed, repository)
        try:
            return _FailOpenLease(lease(repository), failed)
        except _BUGS:
            raise
        except Exception as error:
            failed(error)
            return None

    def _lease_failed(self, repository: Repository, error: Exception) -> None:
        if self._strict:
            raise error
        if self._lease_pauses.begin(_affected(error, repository)):
            _logger.warning(
                "Commits go on without the lease of their budget, so another process may commit at the same moment and"
                " one of the two be refused (409), which is waited out. %s",
                error,
            )

    def status(self, repository: Repository) -> BudgetStatus:
        return self.budget.status(repository)

    def close(self) -> None:
        self._pauses.clear()  # what is open must be closed even if it has failed a moment ago
        self._try(None, self.budget.close, None)

    def _try(self, repository: Repository | None, call: Callable[[], T], otherwise: T, *, proves: bool = False) -> T:
        """
        Call it, or return `otherwise`.

        Args:
            repository (`Repository`, *optional*): What it is about, if it is about one.
            proves (`bool`, *optional*): Whether success means that the budget works, and not just that call.
        """
        if self._pauses.includes(repository):
            return otherwise
        try:
            result = call()
        except _BUGS:
            raise
        except Exception as error:
            if self._strict:
                raise
            affected = _affected(error, repository)
            if self._pauses.begin(affected):
                _logger.warning(
                    "Commits%s go on without their budget, which is tried again every %.0f s; until then the Hub's"
                    " refusals are waited out. %s",
                    f" to {affected.repo_id}" if affected else "",
                    _PAUSE,
                    error,
                )
            return otherwise
        if proves:
            for each in self._pauses.end(repository):
                _logger.warning("The budget works again%s.", f" for {each.repo_id}" if each else "")
        return result


def _affected(error: Exception, repository: Repository | None) -> Repository | None:
    """The repository without a budget; `None` for all."""
    return None if getattr(error, "affects_all", False) else repository


class _Pauses:
    """For which repositories a budget is not used now. `None` stands for all."""

    def __init__(self) -> None:
        self._until: Latest[Repository | None, float] = Latest()
        self._reported: Latest[Repository | None, float] = Latest()  # whose failure has been logged, and when

    def includes(self, repository: Repository | None) -> bool:
        if not self._until:
            return False
        return clock.monotonic() < max(self._until.get(key, -math.inf) for key in (None, repository))

    def begin(self, repository: Repository | None) -> bool:
        """The budget has just failed. Returns whether to log that: once for each, and a few times in an hour."""
        now = clock.monotonic()
        self._until[repository] = now + _PAUSE
        lately = sum(moment > now - 3600 for moment in list(self._reported.values()))
        if repository in self._reported or lately >= _MOST_REPORTED:
            return False
        self._reported[repository] = now
        return True

    def end(self, repository: Repository | None) -> list[Repository | None]:
        """The budget works for this repository, and so it does at all. Returns whose failure had been logged."""
        if not (self._until or self._reported):
            return []
        for key in (None, repository):
            self._until.pop(key, None)
        return [key for key in {None, repository} if self._reported.pop(key, None) is not None]

    def clear(self) -> None:
        self._until.clear()


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
