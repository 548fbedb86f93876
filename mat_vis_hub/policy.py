"""How long we wait, how often, and when we give up: a frozen dataclass and its arithmetic."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields

from mat_vis_hub.retry_after import Refusal, RetryAfter

_NARROW = 120.0  # seconds; a hint no wider than this is waited out whole, a wider one only up to its earliest moment
_SPREAD_OVER = 40.0  # seconds; the part of a server's hint that jitter stretches: enough to spread a fleet


@dataclass(frozen=True)
class RetryPolicy:
    """
    How [`ThrottledHfApi`] retries a refused commit.

    Args:
        max_retries (`int`, *optional*, defaults to `5`):
            Retries after the first try. `0` never retries and never waits.
        backoff_floor (`float`, *optional*, defaults to `30.0`):
            Seconds. The first wait where the server gave no usable hint; it doubles from there.
        backoff_ceiling (`float`, *optional*, defaults to `120.0`):
            Seconds. The longest wait where the server gave no usable hint.
        jitter (`float`, *optional*, defaults to `0.10`):
            A fraction. The backoff varies by this much either way, within floor and ceiling; a server's hint is
            only ever stretched, by this fraction of its first 40 seconds.
        max_total_wait (`float`, *optional*, defaults to `7200.0`):
            Seconds one `create_commit` may spend waiting, over all its retries. A wait that would exceed it is not
            begun: the refusal is raised at once.
        recover (`bool`, *optional*, defaults to `False`):
            After a lost response, find out whether the commit landed instead of raising.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If a value makes no sense; the message names it.

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

    @property
    def patience(self) -> float:
        """Seconds one `create_commit` may wait in all: none for a policy that never retries."""
        return self.max_total_wait if self.max_retries else 0.0

    def wait(self, refusal: Refusal, retry: int) -> tuple[float, str]:
        """Seconds to wait before retry number `retry` (the first is 1), and the hint that this rests on."""
        if (hint := refusal.retry_after) is not None:
            return self._stretched(_first_try(hint)), hint.source
        backoff = self.backoff_floor * 2.0 ** min(retry - 1, 64)
        backoff = min(backoff, self.backoff_ceiling) * (1 + self.jitter * random.uniform(-1, 1))
        backoff = min(max(backoff, self.backoff_floor), self.backoff_ceiling)
        return max(backoff, self._stretched(refusal.floor)), "backoff"

    def _stretched(self, seconds: float) -> float:
        return seconds + min(seconds, _SPREAD_OVER) * self.jitter * random.random()


def _first_try(hint: RetryAfter) -> float:
    """
    The moment of the hint's interval at which to try.

    Trying late wastes the window, trying early costs one more refusal, whose own hint is narrower. So a narrow
    interval ("16 minutes") is waited out, and a wide one ("about 1 hour") only until its earliest moment: two refusals
    and at most a minute and a few seconds lost, instead of one refusal and a quarter of an hour. No quota takes longer
    to refill than its window, fixed or sliding, so that bounds the interval where the refusal named it.
    """
    latest = hint.at_most
    if hint.window is not None and hint.at_least <= hint.window:
        latest = min(latest, hint.window)
    return latest if latest - hint.at_least <= _NARROW else hint.at_least


def _require(condition: bool, name: str, value: object, what: str) -> None:
    if not condition:
        raise ValueError(f"RetryPolicy({name}={value!r}): {name} must be {what}.")
