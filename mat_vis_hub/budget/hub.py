"""`hub://`: a budget without a server of its own, which counts the commits in the repository's history.

Writers that share nothing else, such as a CI matrix on separate runners, see each other's commits there. Each counts
its own commits at once, and reads the history before it commits if others may have used up the room. Two that read it
at the same moment may both commit where there is room for one: the Hub then refuses one of them, and that refusal is
waited out like any other. Waits are spread a little, so that writers do not keep in step.

It sees the commits on all branches and pull requests. One request lists them with their newest commits, and for each
that has moved since the last look, another one reads what is new. The first look reads no more than 30 of them.

What it cannot see: commits made before the first look on further branches; commits that were gone before it looked,
because they were squashed or deleted with their branch; commits that are still under way. The first commit of a history
is not counted, since the Hub does not count the one that creates a repository.

It does not use the wall clock of this machine: ages are the server's, and all moments are on the monotonic clock.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any

from huggingface_hub import HfApi

from mat_vis_hub._hub.history import heads, recent_commits
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._hub.tokens import Token
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub._internal.table import Table
from mat_vis_hub.budget.history_window import HistoryWindow, most_likely
from mat_vis_hub.budget.protocol import LIMIT, WINDOW, BudgetStatus, Reservation, capped
from mat_vis_hub.budget.scope import Surprises, name_of
from mat_vis_hub.errors import BudgetError
from mat_vis_hub.retry_after import Cooldown

Read = Callable[[Repository], HfApi]
"""The `HfApi` with which to read a repository's history. The token of a commit, if it is known, replaces its own."""


class HubBudget(AbstractContextManager["HubBudget"]):
    """
    A `CommitBudget` that counts the commits in the repository's history.

    It raises [`BudgetError`] if the history cannot be read. A repository that does not exist has no commits.

    Args:
        read (`Callable`): Given a repository, the `HfApi` to read its history with.
        limit (`int`, *optional*): Commits per window, until a refusal names another number.
        window (`float`, *optional*): Seconds, until a refusal names another length.
        strict (`bool`, *optional*): Whether a commit fails if its budget does.
    """

    def __init__(self, read: Read, *, limit: int = LIMIT, window: float = WINDOW, strict: bool = False) -> None:
        self.strict = strict
        self._read = read
        self._token: Token = None
        self._surprises = Surprises(window)
        self._slack = limit // 10  # others may have committed since the history was read
        self._windows: PerProcess[Table[Repository, HistoryWindow]] = PerProcess(partial(_windows, limit, window))

    def __repr__(self) -> str:
        return "HubBudget()"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def with_token(self, token: Token) -> HubBudget:
        """The same budget, for a commit with this token: it also reads the history."""
        twin = copy.copy(self)
        twin._token = token
        return twin

    def reserve(self, repository: Repository) -> Reservation:
        return self._place(repository, uuid.uuid4().hex)

    def renew(self, repository: Repository, reservation: Reservation) -> Reservation:
        return self._place(repository, reservation.id)

    def confirm(self, repository: Repository, reservation: Reservation) -> None:
        with self._window(repository) as window, window.lock:
            window.confirm(reservation.id)

    def cancel(self, repository: Repository, reservation: Reservation) -> None:
        with self._window(repository) as window, window.lock:
            window.cancel(reservation.id)

    def refused(self, repository: Repository, reservation: Reservation | None, cooldown: Cooldown) -> None:
        cooldown, name = capped(cooldown), name_of(repository)
        self._surprises.report(name, repository, reservation, cooldown, scope="hub", slack=self._slack)
        with self._window(repository) as window, window.lock:
            if reservation is not None:
                window.cancel(reservation.id)
            window.close(cooldown)

    def status(self, repository: Repository) -> BudgetStatus:
        with self._window(repository) as window, window.lock:
            self._look_if_it_matters(repository, window)
            return window.status()

    def close(self) -> None:
        """Nothing is open between calls."""

    def _window(self, repository: Repository) -> AbstractContextManager[HistoryWindow]:
        return self._windows.value.used(repository)

    def _place(self, repository: Repository, id: str) -> Reservation:
        with self._window(repository) as window, window.lock:
            self._look_if_it_matters(repository, window, id)
            return window.place(id)

    def _look_if_it_matters(self, repository: Repository, window: HistoryWindow, id: str | None = None) -> None:
        """The window stays locked meanwhile: one thread reads, and the others use what it finds."""
        if window.needs_a_look(id):
            try:
                self._look(repository, window)
            except Exception as error:  # of whichever HTTP library is installed, or a response that makes no sense
                why = " ".join(str(error).split())
                raise BudgetError(f"The history of {repository.repo_id} cannot be read: {why}") from error

    def _look(self, repository: Repository, window: HistoryWindow) -> None:
        asked_at = clock.monotonic()
        api, repo_id = self._read(repository), repository.repo_id
        options: dict[str, Any] = {"repo_type": repository.repo_type, "token": self._token}
        now_heads = heads(api, repo_id, **options)
        moved = window.moved(now_heads)
        found = recent_commits(api, repo_id, window.window, revisions=moved, known=window.seen, **options)
        shown = {commit.id: clock.monotonic() - commit.age for commit in found}
        window.note(shown, asked_at, now_heads.values())


def _windows(limit: int, window: float) -> Table[Repository, HistoryWindow]:
    return Table(partial(HistoryWindow, limit, window), HistoryWindow.is_over)


def ages(read: Read, window: float = WINDOW) -> Callable[[Repository, Token], list[float]]:
    """How many seconds ago each commit of a repository's last window was made, to backfill a budget that is new."""

    def of(repository: Repository, token: Token = None) -> list[float]:
        api, repo_id = read(repository), repository.repo_id
        options: dict[str, Any] = {"repo_type": repository.repo_type, "token": token}
        branches = most_likely(heads(api, repo_id, **options))
        return [commit.age for commit in recent_commits(api, repo_id, window, revisions=branches, **options)]

    return of
