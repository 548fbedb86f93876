"""The interface of a budget: how many commits may be made per window, how many are used, and when the next one may."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._hub.tokens import Token
from mat_vis_hub.retry_after import Cooldown

LIMIT = 128  # commits; the Hub's quota for free accounts
WINDOW = 3600.0  # seconds
MOST_MOMENTS = 1000  # in `BudgetStatus.frees_in`

_LONGEST_WAIT = 86_400.0  # seconds that a refusal may close a repository for, whatever the server says ...
_LONGEST_WINDOW = 31 * 86_400.0  # ... and the longest window ...
_LARGEST_LIMIT = 10**9  # ... and the largest limit that it may name


class Reservation(NamedTuple):
    """
    One commit's place in the budget, from when it is reserved until it is confirmed or cancelled.

    Args:
        id (`str`): Unique among all writers.
        wait (`float`): Seconds, from when it was reserved or renewed, until the commit may be sent; 0 for at once.
        used (`int`): Commits counted in the window at that time, without this one.
        limit (`int`): Commits that the window takes.
        reason (`str`): What it waits for: `"budget"` (the window is used up) or `"refused"` (the Hub has refused a
            commit of someone who shares the budget).
    """

    id: str
    wait: float
    used: int
    limit: int
    reason: str = "budget"


class BudgetStatus(NamedTuple):
    """
    What a repository's budget looks like.

    Args:
        used (`int`): Commits counted in the present window, including reservations.
        limit (`int`): Commits that the window takes.
        window (`float`): Its length in seconds.
        frees_in (`tuple` of `float`): In how many seconds room for another commit becomes free, once for each, soonest
            first. What is free now is left out, and there are no more than the 1,000 soonest.
    """

    used: int
    limit: int
    window: float
    frees_in: tuple[float, ...] = ()


class CommitBudget(Protocol):
    """
    Counts the commits of all writers that share it, and lets them commit first come, first served.

    A budget can do more: see [`LeasingBudget`] and [`ScopedBudget`].

    Every method may be called from any thread and any process, and none of them waits or polls. If the place where the
    count is kept fails, they raise, and [`FailOpenBudget`] commits without a budget.
    """

    def reserve(self, repository: Repository) -> Reservation:
        """Reserve a commit: with `wait=0` if there is room, else at the earliest moment to come."""

    def renew(self, repository: Repository, reservation: Reservation) -> Reservation:
        """The same reservation once its wait is over: `wait` is 0, or what has been added to it meanwhile."""

    def confirm(self, repository: Repository, reservation: Reservation) -> None:
        """The commit was sent and may have been counted. It counts for a window from now."""

    def cancel(self, repository: Repository, reservation: Reservation) -> None:
        """The commit was certainly not counted: free its place."""

    def refused(self, repository: Repository, reservation: Reservation | None, cooldown: Cooldown) -> None:
        """The Hub refused the commit: nobody sends one during the cooldown, and the quota that it names applies."""

    def status(self, repository: Repository) -> BudgetStatus:
        """What the repository's budget looks like, without reserving anything."""

    def close(self) -> None:
        """Close files and connections."""


class Lease(Protocol):
    """
    One writer's way to the lease of a repository, which at most one writer holds at a time.

    A lease that is not given back ends by itself: when the process of its holder dies, and [`LONGEST_COMMIT`] seconds
    after it was taken or renewed. It only saves refusals, since the Hub lets no two commits happen at once either. So
    it does no harm if a lease is lost, or taken by two.
    """

    def acquire(self) -> bool:
        """
        Take the lease if it is free, or renew it if it is held.

        It is called again, several times a second, until it returns `True` or the writer does not want to wait any
        longer. Those who wait should get ahead of a writer that has just given the lease back. Waits for half a second
        at most.
        """

    def release(self) -> None:
        """Give the lease back, or stop waiting for it. It is not used again."""


class LeasingBudget(CommitBudget, Protocol):
    """A [`CommitBudget`] whose writers also take a lease, so that they do not meet the commit lock of the Hub (409)."""

    def lease(self, repository: Repository) -> Lease:
        """The lease of that repository. Nothing is taken yet."""


class ScopedBudget(CommitBudget, Protocol):
    """A [`CommitBudget`] for which it matters with which token a commit is sent, or that counts a wider quota."""

    def with_token(self, token: Token) -> CommitBudget:
        """
        The same budget, for a commit with this token.

        Args:
            token (`str` or `bool`, *optional*): As in `HfApi.create_commit`.
        """

    def wider_quota(self, repository: Repository) -> str | None:
        """
        Whose quota is counted, if it is not the repository's own: a key that its owner's repositories share, or those
        to which one token commits. A refusal holds back the commits to all of them.
        """


def capped(cooldown: Cooldown) -> Cooldown:
    """The cooldown within sane bounds, whatever the server said."""
    wait, limit, window = cooldown
    return Cooldown(
        min(max(0.0, wait), _LONGEST_WAIT),  # in this order, which makes NaN a 0
        min(max(1, limit), _LARGEST_LIMIT) if limit else None,
        min(max(0.001, window), _LONGEST_WINDOW) if window else None,
    )
