"""What all budgets that store their count share: the protocol on top of a sliding window, errors, and backfilling."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._hub.tokens import Token
from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub._internal.sanitize import without_secrets
from mat_vis_hub.budget.protocol import BudgetStatus, Reservation, capped
from mat_vis_hub.budget.scope import Surprises, name_of
from mat_vis_hub.budget.sliding_window import Quota, Window
from mat_vis_hub.errors import BudgetError
from mat_vis_hub.retry_after import Cooldown

T = TypeVar("T")
B = TypeVar("B", bound="StoredBudget")

_logger = logging.getLogger("mat_vis_hub")
_MOST_BACKFILLED = 10_000  # repositories that are remembered as backfilled

Backfill = Callable[[Repository, Token], list[float]]
"""How many seconds ago each commit of the last window was made, according to the history that this token may read."""


class StoredBudget(AbstractContextManager["StoredBudget"], ABC):
    """
    A `CommitBudget` that stores one sliding window for each quota that it counts. A subclass says where.

    Args:
        shown (`str`): Its URL as it may be shown.
        limit (`int`): Commits per window, until a refusal names another number.
        window (`float`): Seconds.
        backfill (`Callable`, *optional*): Read once for each repository, to count what was committed before.
    """

    errors: tuple[type[Exception], ...] = ()  # what the driver raises
    advice = ""  # what to do then
    secrets: tuple[str, ...] = ()  # what must not be shown
    strict = False  # whether a commit fails if its budget does
    scope = "repo"  # whose quota it counts
    _token: Token = None  # of the commits

    def __init__(self, shown: str, limit: int, window: float, backfill: Backfill | None = None) -> None:
        self.shown = shown
        self._own = Quota(limit, max(1, round(window * 1000)))
        self._backfill = backfill
        self._backfilled: PerProcess[set[Repository]] = PerProcess(set)
        self._warned: set[str] = set()
        self._surprises = Surprises(window)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r})"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def open(self) -> None:
        """
        Connect now rather than on first use.

        Raises:
            [`BudgetError`]
                If the file or server cannot be used.
        """

    @abstractmethod
    def decide(self, name: str, own: Quota, decision: Callable[[Window], T]) -> tuple[T, Window]:
        """Make a decision on the window of that name, as one transaction; return its result, and the window."""

    def with_token(self: B, token: Token) -> B:
        """The same budget, for a commit with this token."""
        if self.scope != "token" and self._backfill is None:
            return self
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)  # connections too; `copy` would open others
        twin._token = token
        return twin

    def wider_quota(self, repository: Repository) -> str | None:
        """The key of the quota that is counted, if it is not the repository's own."""
        return None if self.scope == "repo" else self._name(repository)

    def reserve(self, repository: Repository) -> Reservation:
        self._backfill_once(repository)
        return self._decide(repository, lambda window: window.reserve())

    def renew(self, repository: Repository, reservation: Reservation) -> Reservation:
        return self._decide(repository, lambda window: window.renew(reservation.id))

    def confirm(self, repository: Repository, reservation: Reservation) -> None:
        self._decide(repository, lambda window: window.confirm(reservation.id))

    def cancel(self, repository: Repository, reservation: Reservation) -> None:
        self._decide(repository, lambda window: window.cancel(reservation.id))

    def refused(self, repository: Repository, reservation: Reservation | None, cooldown: Cooldown) -> None:
        id = reservation.id if reservation is not None else None
        cooldown = capped(cooldown)
        self._surprises.report(self._name(repository), repository, reservation, cooldown, scope=self.scope)
        self._decide(repository, lambda window: window.refuse(id, cooldown))

    def status(self, repository: Repository) -> BudgetStatus:
        self._backfill_once(repository)
        return self._decide(repository, lambda window: window.status())

    def close(self) -> None:
        """Close files and connections. The next use opens them again."""

    def _name(self, repository: Repository) -> str:
        return name_of(repository, self.scope, self._token)

    def _decide(self, repository: Repository, decision: Callable[[Window], T]) -> T:
        result, window = self.reporting(lambda: self.decide(self._name(repository), self._own, decision))
        if window.other_quota is not None and not self._warned:
            self._warned.add("quota")
            _logger.warning(
                "The budget %s of %s counts with limit=%d and window=%g, which other writers that share it have set;"
                " its own limit=%d and window=%g are smaller and not used. Give all of them the same URL.",
                *(self.shown, repository.repo_id),
                *(window.other_quota.limit, window.other_quota.window / 1000),
                *(self._own.limit, self._own.window / 1000),
            )
        return result

    def reporting(self, call: Callable[[], T]) -> T:
        """Call it, and raise the driver's errors as a `BudgetError` that names the budget and no credentials."""
        try:
            return call()
        except self.errors as error:
            text = " ".join(str(error).split()).rstrip(".?")
            why = redacted(text, self.secrets)
            cause = error if why == text else None
            affects_all = self.is_down(error)
        # Outside of the `except` block, so that an error with credentials in its text is not even the context.
        problem = BudgetError(f"The budget {self.shown} cannot be used: {why}. {self.advice}".rstrip())
        problem.affects_all = affects_all
        raise problem from cause

    def is_down(self, error: Exception) -> bool:
        """Whether this error of the driver means that the place cannot be used at all, for whichever repository."""
        return True

    def _backfill_once(self, repository: Repository) -> None:
        if self._backfill is None or repository in self._backfilled.value:
            return
        if len(self._backfilled.value) >= _MOST_BACKFILLED:
            self._backfilled.value.clear()
        self._backfilled.value.add(repository)
        try:
            ages = [round(age * 1000) for age in self._backfill(repository, self._token)]
        except Exception as error:
            _logger.warning(
                "The budget %s begins without the history of %s, which could not be read: %s",
                self.shown,
                repository.repo_id,
                error,
            )
            return
        self._decide(repository, lambda window: window.backfill(ages))


def redacted(text: str, secrets: tuple[str, ...]) -> str:
    """`text` without the secrets. Short ones are replaced only as words, since every text contains an "a"."""
    for secret in secrets:
        pattern = re.escape(secret)
        text = re.sub(pattern if len(secret) > 3 else rf"(?<!\w){pattern}(?!\w)", "***", text)
    return without_secrets(text)
