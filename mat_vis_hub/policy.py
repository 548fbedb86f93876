"""RetryPolicy: how long to wait after a refusal, how often to retry, and when to give up."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded by the first refusal
    from mat_vis_hub.retry_after import Refusal, RetryAfter

_NARROW = 120.0  # seconds; the width of an interval up to which its end is waited for, and not its beginning
_MOST_STRETCHED = 32  # waits over which a window of unknown age is spread
_SPREAD_OVER = 40.0  # seconds; jitter is a fraction of these at most, enough to spread the retries of a fleet


# Contention, with another writer's commit or in the Hub's git backend, clears within seconds. A commit holds the
# repository for a minute at most, and of several writers that wait each gets its turn by chance.
CONTENTION_RETRIES = 100
_SHORTEST_CONTENTION, _LONGEST_CONTENTION = 0.5, 8.0  # seconds

# After a lost answer. An outage may last for an hour or two; `max_total_wait` is reached before this many waits.
LOSS_RETRIES = 200
_SHORTEST_OUTAGE, _LONGEST_OUTAGE = 2.0, 60.0  # seconds, of which each wait takes a half at least


@dataclass(frozen=True)
class RetryPolicy:
    """
    How [`ThrottledHfApi`] retries a refused request.

    Args:
        max_retries (`int`, *optional*, defaults to `5`):
            Retries after the first try. With `0`, a call never waits.
        backoff_floor (`float`, *optional*, defaults to `30.0`):
            Seconds. The first wait after a refusal without a usable hint. Each further wait is twice as long.
        backoff_ceiling (`float`, *optional*, defaults to `120.0`):
            Seconds. The longest wait after a refusal without a usable hint.
        jitter (`float`, *optional*, defaults to `0.10`):
            A fraction. The backoff varies by it in both directions, between floor and ceiling. A wait that the server
            named only gets longer, by this fraction of its first 40 seconds at most.
        max_total_wait (`float`, *optional*, defaults to `7200.0`):
            Seconds that one call may spend waiting, over all its retries. If the next wait would exceed it, the refusal
            is raised at once.
        recover (`bool`, *optional*, defaults to `False`):
            Whether a commit also survives a lost answer: 500, 502, 503, 504, a connection that broke or timed out, an
            answer that arrived damaged; and 412, if the caller named no `parent_commit`. It waits up to a minute, looks
            in the history whether the commit has landed, and sends it again only if it has not. `max_total_wait` bounds
            these waits, `max_retries` does not, but with `max_retries=0` a lost answer is looked into only once.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If a value is invalid; the message names it.

    Example:
    ```python
    >>> from mat_vis_hub import RetryPolicy
    >>> patient = RetryPolicy(max_retries=10, max_total_wait=6 * 3600)
    >>> patient.max_total_wait
    21600

    ```
    """

    max_retries: int = 5
    backoff_floor: float = 30.0
    backoff_ceiling: float = 120.0
    jitter: float = 0.10
    max_total_wait: float = 7200.0
    recover: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "recover":
                _require(isinstance(value, bool), field.name, value, "True or False")
            elif field.name == "max_retries":
                whole = isinstance(value, int) and not isinstance(value, bool)
                _require(whole and value >= 0, field.name, value, "a whole number, 0 or more")
            else:
                number = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
                _require(number and value >= 0, field.name, value, "a number, 0 or more")
        _require(math.isfinite(self.backoff_floor), "backoff_floor", self.backoff_floor, "finite")
        _require(self.jitter <= 1, "jitter", self.jitter, "a fraction between 0 and 1")
        _require(
            self.backoff_floor <= self.backoff_ceiling,
            "backoff_ceiling",
            self.backoff_ceiling,
            f"no less than backoff_floor={self.backoff_floor!r}",
        )

    def wait(self, refusal: Refusal, retry: int) -> tuple[float, str]:
        """
        How long to wait before a retry.

        Args:
            refusal (`Refusal`): What was refused.
            retry (`int`): The number of the retry. The first is 1.

        Returns:
            The seconds, and where they come from, as in [`ThrottleEvent`].`hint`.
        """
        if (hint := refusal.retry_after) is not None:
            return self._stretched(_first_try(hint)), hint.source
        if refusal.is_contention:
            longest = min(_LONGEST_CONTENTION, _SHORTEST_CONTENTION * 2.0 ** min(retry, 64))
            return random.uniform(_SHORTEST_CONTENTION, longest), "backoff"
        if refusal.lost:
            longest = min(_LONGEST_OUTAGE, _SHORTEST_OUTAGE * 2.0 ** min(retry - 1, 64))
            return random.uniform(longest / 2, longest), "backoff"
        backoff = self.backoff_floor * 2.0 ** min(retry - 1, 64)
        backoff = min(backoff, self.backoff_ceiling) * (1 + self.jitter * random.uniform(-1, 1))
        backoff = min(max(backoff, self.backoff_floor), self.backoff_ceiling)
        if refusal.window is not None:
            backoff = max(backoff, self._stretched(self._share_of(refusal.window, retry)))
        return max(backoff, self._stretched(refusal.floor)), "backoff"

    def _share_of(self, window: float, retry: int) -> float:
        """
        The wait before a retry if all that is known is the quota's window.

        The waits grow by one factor from the floor on, so that they add up to the window: the first tries come soon,
        and the last one when the quota has surely refilled.
        """
        first, tries = max(self.backoff_floor, 1.0), min(self.max_retries, _MOST_STRETCHED)
        if tries < 2 or first >= window:
            return window
        low, high = 1.0, (window / first) ** (1 / (tries - 1))  # with the latter, the last wait alone is the window
        for _ in range(50):
            factor = (low + high) / 2
            total = sum(first * factor**number for number in range(tries))
            low, high = (factor, high) if total < window else (low, factor)
        return float(first * high ** min(retry - 1, tries - 1))

    def _stretched(self, seconds: float) -> float:
        return seconds + min(seconds, _SPREAD_OVER) * self.jitter * random.random()


def _first_try(hint: RetryAfter) -> float:
    """
    The seconds of the hint's interval after which to try.

    A late try wastes part of the window. An early one costs another refusal, which names a narrower interval. So we
    try at the end of a narrow interval ("16 minutes") and at the beginning of a wide one ("about 1 hour"). For the
    latter this costs two refusals and about a minute, instead of one refusal and a quarter of an hour. Every quota
    refills within its window, fixed or sliding, so the window bounds the interval if the refusal names it.
    """
    latest = hint.at_most
    if hint.window is not None and hint.at_least <= hint.window:
        latest = min(latest, hint.window)
    if (hint.at_least, latest) == (0, 60):
        return 30.0  # "less than a minute" mostly means that: date-fns says it up to a minute with an option only
    return latest if latest - hint.at_least <= _NARROW else hint.at_least


def _require(condition: bool, name: str, value: object, what: str) -> None:
    if not condition:
        raise ValueError(f"RetryPolicy({name}={value!r}): {name} must be {what}.")
