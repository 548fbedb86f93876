"""Limits how many events a key may have per window, which is fixed or sliding."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

Clock = Callable[[], float]
"""Returns the time in seconds."""


class _Window(Protocol):
    """The events of one key. `spent` drops those that have left the window, so it is called before the others."""

    def spent(self, now: float) -> int: ...
    def spend(self, now: float, count: int) -> None: ...
    def reset_in(self, now: float) -> float: ...


class FixedWindow:
    """Opens with its first event, and drops all of them at once `length` seconds later."""

    def __init__(self, length: float) -> None:
        self._length = length
        self._opened = -math.inf
        self._count = 0

    def spent(self, now: float) -> int:
        if now >= self._opened + self._length:
            self._count = 0
        return self._count

    def spend(self, now: float, count: int) -> None:
        if not self._count:
            self._opened = now
        self._count += count

    def reset_in(self, now: float) -> float:
        return self._opened + self._length - now if self._count else self._length


class SlidingWindow:
    """Drops each event `length` seconds after it happened."""

    def __init__(self, length: float) -> None:
        self._length = length
        self._times: deque[float] = deque()

    def spent(self, now: float) -> int:
        while self._times and now >= self._times[0] + self._length:
            self._times.popleft()
        return len(self._times)

    def spend(self, now: float, count: int) -> None:
        self._times.extend([now] * count)

    def reset_in(self, now: float) -> float:
        return self._times[0] + self._length - now if self._times else self._length


MODELS: dict[str, Callable[[float], _Window]] = {"fixed": FixedWindow, "sliding": SlidingWindow}


@dataclass(frozen=True)
class Standing:
    """How many events a key has left, and when it will have more."""

    remaining: int
    reset_in: float  # seconds


class Limiter:
    """
    Counts events per key and says whether there is room for another. Thread-safe.

    Args:
        limit (`int`, *optional*):
            Events per window and key. `None` for no limit.
        window (`float`):
            Seconds.
        model (`str`):
            `"fixed"` or `"sliding"`.
        clock (`Callable`):
            Returns the time in seconds.
    """

    def __init__(self, limit: int | None, window: float, model: str, clock: Clock) -> None:
        self.limit = limit
        self.window = window
        self._model = MODELS[model]
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[Hashable, _Window] = {}

    def standing(self, key: Hashable) -> Standing | None:
        """Return how many events `key` has left. `None` if there is no limit."""
        if self.limit is None:
            return None
        with self._lock:
            now = self._clock()
            window = self._of(key)
            return Standing(max(0, self.limit - window.spent(now)), window.reset_in(now))

    def spend(self, key: Hashable, count: int = 1, *, at: float | None = None) -> None:
        """Count `count` events, whether there is room or not. They happened `at` this time, by default now."""
        if self.limit is None or count <= 0:
            return
        with self._lock:
            now = self._clock() if at is None else at
            window = self._of(key)
            window.spent(now)
            window.spend(now, count)

    def take(self, key: Hashable) -> bool:
        """Count one event if there is room, and return whether there was."""
        if self.limit is None:
            return True
        with self._lock:
            now = self._clock()
            window = self._of(key)
            room = window.spent(now) < self.limit
            if room:
                window.spend(now, 1)
            return room

    def _of(self, key: Hashable) -> _Window:
        return self._windows.setdefault(key, self._model(self.window))
