"""`hub://`: a budget without a server of its own. The repository's commit history is the count.

Writers that share nothing else, such as a CI matrix on separate runners, see each other's commits there. Each counts
its own at once, without asking, and looks at the history before it goes where others may have used up the room. Two
that look at the same moment may both go where there is room for one: the Hub then refuses one of them, and that is
waited out like every refusal. Waits are spread a little, so that they do not march in step.

What it cannot see: commits on a branch that nobody named (`HubBudget.saw`); commits that were gone from the history
before it was looked at, squashed or deleted with their branch; commits still on their way. The first commit of a
history is not counted, as the Hub does not count the one that it makes for a new repository.

No wall clock of this machine is read: ages are the server's own, and all moments are on the monotonic clock.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from huggingface_hub import HfApi

from mat_vis_hub._hub.history import recent_commits
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub.budget.history_window import HistoryWindow
from mat_vis_hub.budget.protocol import LIMIT, WINDOW, BudgetStatus, Reservation
from mat_vis_hub.retry_after import Cooldown

Read = Callable[[Repository], HfApi]
"""Whose endpoint and token to read a repository's history with."""


class HubBudget:
    """
    A `CommitBudget` that counts the commits in the repository's history.

    A history that cannot be read raises, whatever the reason, except that a repository or branch that is not there
    has no commits.

    Args:
        read (`Callable`): Given a repository, the `HfApi` to read its history with.
        limit (`int`, *optional*): Commits per window, until a refusal names another number.
        window (`float`, *optional*): Seconds, until a refusal names another.
    """

    def __init__(self, read: Read, *, limit: int = LIMIT, window: float = WINDOW) -> None:
        self._read = read
        self._limit = limit
        self._window = window
        self._ledgers: PerProcess[dict[Repository, HistoryWindow]] = PerProcess(dict)

    def saw(self, repository: Repository, revision: str) -> None:
        """Commits go to this branch as well: from now on it is looked at. One request more for each look."""
        with (ledger := self._ledger(repository)).lock:
            ledger.name(revision)

    def reserve(self, repository: Repository) -> Reservation:
        return self._place(repository, uuid.uuid4().hex)

    def renew(self, repository: Repository, slot: Reservation) -> Reservation:
        return self._place(repository, slot.id)

    def confirm(self, repository: Repository, slot: Reservation) -> None:
        with (ledger := self._ledger(repository)).lock:
            ledger.spend(slot.id)

    def cancel(self, repository: Repository, slot: Reservation) -> None:
        with (ledger := self._ledger(repository)).lock:
            ledger.drop(slot.id)

    def refused(self, repository: Repository, reservation: Reservation | None, cooldown: Cooldown) -> None:
        with (ledger := self._ledger(repository)).lock:
            if reservation is not None:
                ledger.drop(reservation.id)
            ledger.close(cooldown)

    def status(self, repository: Repository) -> BudgetStatus:
        with (ledger := self._ledger(repository)).lock:
            self._look_if_it_matters(repository, ledger)
            return ledger.status()

    def close(self) -> None:
        pass

    def _ledger(self, repository: Repository) -> HistoryWindow:
        return self._ledgers.value.setdefault(repository, HistoryWindow(self._limit, self._window))

    def _place(self, repository: Repository, slot_id: str) -> Reservation:
        with (ledger := self._ledger(repository)).lock:
            self._look_if_it_matters(repository, ledger, slot_id)
            return ledger.place(slot_id)

    def _look_if_it_matters(self, repository: Repository, ledger: HistoryWindow, slot_id: str | None = None) -> None:
        """The ledger stays locked meanwhile: one looks, and the others have what it finds."""
        if ledger.needs_a_look(slot_id):
            asked_at = clock.monotonic()
            shown = recent_commits(
                self._read(repository),
                repository.repo_id,
                ledger.window,
                repo_type=repository.repo_type,
                revisions=ledger.revisions,
                known=ledger.seen,
            )
            ledger.note({commit.id: clock.monotonic() - commit.age for commit in shown}, asked_at)


def seed(read: Read, window: float = WINDOW) -> Callable[[Repository], list[float]]:
    """How many seconds ago each commit of a repository's last window was made, for a budget that is new to it."""

    def ages(repository: Repository) -> list[float]:
        shown = recent_commits(read(repository), repository.repo_id, window, repo_type=repository.repo_type)
        return [commit.age for commit in shown]

    return ages
