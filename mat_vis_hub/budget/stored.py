"""What the budgets that keep a log share: the protocol in the log's terms, its errors, and the seed."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal.sanitize import without_secrets
from mat_vis_hub.budget.protocol import BudgetStatus, Reservation
from mat_vis_hub.budget.sliding_window import COUNTED, Log, Quota
from mat_vis_hub.retry_after import Cooldown

_logger = logging.getLogger("mat_vis_hub")

Seed = Callable[[Repository], list[float]]
"""How many seconds ago each commit of the last window was made, by the repository's history."""


class BudgetError(RuntimeError):
    """The place where the count is kept cannot be used; the message says which, why, and what to do."""


class StoredBudget(ABC):
    """
    A `CommitBudget` over a log per repository; a subclass says where the logs are.

    Args:
        shown (`str`): Its URL without the password.
        limit (`int`): Commits per window, until a refusal names another number.
        window (`float`): Seconds.
        seed (`Callable`, *optional*): Asked once for each repository, for what was committed before.
    """

    errors: tuple[type[Exception], ...] = ()  # what the place's driver raises
    advice = ""  # what to do then
    secrets: tuple[str, ...] = ()

    def __init__(self, shown: str, limit: int, window: float, seed: Seed | None = None) -> None:
        self.shown = shown
        self._quota = Quota(limit, max(1, round(window * 1000)))
        self._seed = seed
        self._seeded: set[Repository] = set()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r})"

    @abstractmethod
    def open(self) -> None:
        """Reach for the place where the count is kept, to be told now if it is not there."""

    @abstractmethod
    def log(self, repository: Repository) -> AbstractContextManager[Log]:
        """The repository's log."""

    def reserve(self, repository: Repository) -> Reservation:
        self._backfill_once(repository)
        with self._log(repository) as log:
            return log.reserve()

    def renew(self, repository: Repository, slot: Reservation) -> Reservation:
        with self._log(repository) as log:
            return log.renew(slot.id)

    def confirm(self, repository: Repository, slot: Reservation) -> None:
        with self._log(repository) as log:
            log.move(slot.id, COUNTED)

    def cancel(self, repository: Repository, slot: Reservation) -> None:
        with self._log(repository) as log:
            log.remove(slot.id)

    def refused(self, repository: Repository, reservation: Reservation | None, cooldown: Cooldown) -> None:
        with self._log(repository) as log:
            if reservation is not None:
                log.remove(reservation.id)
            window = round(cooldown.window * 1000) if cooldown.window else None
            log.close_for(max(0, round(cooldown.wait * 1000)), cooldown.limit, window)

    def status(self, repository: Repository) -> BudgetStatus:
        self._backfill_once(repository)
        with self._log(repository) as log:
            return log.status()

    def close(self) -> None:
        """Let go of what is held; what comes after begins anew."""
        self._seeded.clear()

    def _backfill_once(self, repository: Repository) -> None:
        if self._seed is None or repository in self._seeded:
            return
        self._seeded.add(repository)
        try:
            ages = self._seed(repository)
        except Exception as error:
            _logger.warning(
                "The budget %s begins without the history of %s, which could not be read: %s",
                self.shown,
                repository.repo_id,
                error,
            )
            return
        with self._log(repository) as log:
            log.backfill(ages)

    @contextmanager
    def _log(self, repository: Repository) -> Iterator[Log]:
        with self.reporting(), self.log(repository) as log:
            yield log

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """The driver's errors as one of ours, which names the budget and no password."""
        try:
            yield
        except self.errors as error:
            why = without_secrets(" ".join(str(error).split()).rstrip(".?"), self.secrets)
            raise BudgetError(f"The budget {self.shown} cannot be used: {why}. {self.advice}") from error


def name_of(repository: Repository) -> str:
    """The repository in a word, the same for all sharers."""
    return f"{repository.endpoint.rstrip('/')}/{repository.repo_type}s/{repository.repo_id}"
