"""What a budget is: who may commit now, and when the next may. One protocol, and a module per place to keep it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub.retry_after import Cooldown

LIMIT = 128  # commits; what the Hub takes of a free account
WINDOW = 3600.0  # seconds


class Reservation(NamedTuple):
    """
    One commit's place in the budget, taken when it was asked for and kept until it is settled.

    Args:
        id (`str`): Tells it from all others, of all writers.
        wait (`float`): Seconds from the moment it was handed out until the commit may be sent; 0 for at once.
        used (`int`): Commits counted in the window when it was handed out, this one aside.
        limit (`int`): How many the window takes.
        reason (`str`): What it waits for: `"budget"` (the window is spent) or `"refused"` (a sharer was refused).
    """

    id: str
    wait: float
    used: int
    limit: int
    reason: str = "budget"


class BudgetStatus(NamedTuple):
    """
    Where a repository stands.

    Args:
        used (`int`): Commits counted in the present window, slots handed out among them.
        limit (`int`): How many the window takes.
        window (`float`): Its length in seconds.
        frees_in (`tuple` of `float`): In how many seconds the next slots free up, the soonest first; 0 for those that
            are free now are left out.
    """

    used: int
    limit: int
    window: float
    frees_in: tuple[float, ...] = ()


class CommitBudget(Protocol):
    """
    Counts the commits of every writer that shares it, and hands out the slots first come, first served.

    Every method may be called from any thread and any process. One that fails raises; whoever uses the budget then goes
    on without it. None waits, none polls.
    """

    def reserve(self, repository: Repository) -> Reservation:
        """The next slot: with `wait=0` if there is room, else the earliest moment to come. One round trip if it can."""

    def renew(self, repository: Repository, slot: Reservation) -> Reservation:
        """The same slot once its wait is over: `wait` is 0, or what has been added to it meanwhile."""

    def confirm(self, repository: Repository, slot: Reservation) -> None:
        """The commit was sent and may have been counted, now at the latest: it counts for a window from now."""

    def cancel(self, repository: Repository, slot: Reservation) -> None:
        """The commit was certainly not counted: the slot is free again."""

    def refused(self, repository: Repository, reservation: Reservation | None, cooldown: Cooldown) -> None:
        """The Hub refused the commit: nobody sends one during the cooldown, and the quota that it names holds."""

    def status(self, repository: Repository) -> BudgetStatus:
        """Where the repository stands, without taking anything."""

    def close(self) -> None:
        """Let go of files and connections."""
