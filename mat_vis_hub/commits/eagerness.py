"""When a batch is due: soon while little of the quota is used, and in few large commits near its limit."""

from __future__ import annotations

import logging
import math
from collections import deque

from huggingface_hub import HfApi

from mat_vis_hub import gate
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.sanitize import one_line
from mat_vis_hub.budget.protocol import LIMIT, WINDOW, BudgetStatus

_SMALLEST_SHARE = 0.1  # of its maxima, at which a batch is due while no commits are used
_FRESH = 10.0  # seconds for which a budget's answer is used; `hub://` asks the Hub
_logger = logging.getLogger("mat_vis_hub")


def due_share(used: int, limit: int) -> float:
    """
    The share of its maxima at which a batch is due.

    It is a tenth at first, so that files are committed promptly. It grows exponentially and reaches 1 at half the
    limit. A long run at a steady pace therefore soon makes few large commits, and is refused only if even full batches
    come faster than the limit allows.

    Args:
        used (`int`): Commits made in the current window.
        limit (`int`): Commits that the Hub accepts per window.

    Example:
    ```python
    >>> [round(due_share(used, limit=128), 2) for used in (0, 16, 32, 48, 64, 128)]
    [0.1, 0.18, 0.32, 0.56, 1.0, 1.0]

    ```
    """
    return math.pow(_SMALLEST_SHARE, max(0.0, 1.0 - used / (limit / 2))) if limit > 0 else 1.0


class Eagerness:
    """
    How eager one batch is, by what its budget says, or else by the commits that this process has made.

    Args:
        api (`HfApi`): Whose budget it is, if it has one.
        repo_id (`str`), repo_type (`str`, *optional*): The repository.
        token (`str` or `bool`, *optional*): As in `HfApi.create_commit`.
        max_age (`float`): Seconds that a change waits while there is room.
        reserve (`int`): Commits of each window to leave to others.
    """

    def __init__(
        self,
        api: HfApi,
        repo_id: str,
        repo_type: str | None,
        token: str | bool | None,
        *,
        max_age: float,
        reserve: int,
    ) -> None:
        budget = getattr(api, "budget", None)
        self._budget = budget.with_token(api.token if token is None else token) if budget is not None else None
        self._repository = Repository.of(api.endpoint, repo_type, repo_id)
        self._max_age = max_age
        self._reserve = reserve
        self._status = BudgetStatus(0, LIMIT, WINDOW)
        self._read_at = -math.inf
        self._is_fresh = False
        self._has_failed = False
        self._gate = gate.current.value.of(self._repository)  # kept, because it counts
        self._made: deque[float] = deque()  # when this batch has committed; a plain `HfApi` passes no gate

    def refresh(self) -> None:
        """Ask again how much is used, unless that was done a moment ago. May take a request."""
        now = clock.monotonic()
        if self._is_fresh and now - self._read_at < _FRESH:
            return
        self._read_at, self._is_fresh = now, True
        self._status = self._from_budget() or self._from_process()

    def committed(self) -> None:
        """A commit of this batch has landed."""
        self._made.append(clock.monotonic())
        self._is_fresh = False

    @property
    def share(self) -> float:
        """The share of its maximum size at which the batch is due. Without a maximum age there is no hurry."""
        return due_share(self._status.used, self._limit) if self._max_age < math.inf else 1.0

    @property
    def age(self) -> float:
        """Seconds after which a change is due. With the window used up, it waits until the batch is full."""
        left = self._limit - self._status.used
        if left <= 0:
            return math.inf
        if self._status.used < self._limit / 2:
            return self.share * self._max_age
        return max(self._max_age, self._status.window / (left + 1))

    @property
    def keeps_reserve_for(self) -> float:
        """Seconds until a commit leaves the reserve to others; 0 if it does so now."""
        too_many = self._status.used - self._limit
        if not self._reserve or too_many < 0:
            return 0.0
        frees_in = self._status.frees_in
        wait = frees_in[too_many] if too_many < len(frees_in) else self._status.window
        return max(0.0, self._read_at + wait - clock.monotonic())

    @property
    def _limit(self) -> int:
        return max(1, self._status.limit - self._reserve)

    def _from_budget(self) -> BudgetStatus | None:
        if self._budget is None:
            return None
        try:
            status: BudgetStatus = self._budget.status(self._repository)
        except Exception as error:  # the budget fails open, and so does what depends on it
            if not self._has_failed:
                self._has_failed = True
                _logger.warning("A batch does not know how much of the quota is used: %s", one_line(str(error)))
            return None
        self._has_failed = False
        return status

    def _from_process(self) -> BudgetStatus:
        now = clock.monotonic()
        while self._made and self._made[0] <= now - WINDOW:
            self._made.popleft()
        used, limit, window, frees_in = self._gate.usage(LIMIT, WINDOW)
        if len(self._made) > used:
            return BudgetStatus(len(self._made), limit, window, tuple(at + WINDOW - now for at in self._made))
        return BudgetStatus(used, limit, window, frees_in)
