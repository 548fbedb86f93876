"""Two limits: commits per repository (fixed or sliding window) and API requests per caller (fixed window)."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    Clock = Callable[[], float]


class _Window(Protocol):
    """What one key has spent lately; `spent` forgets what has left the window, so it is always asked first."""

    def spent(self, now: float) -> int: ...
    def spend(self, now: float, count: int) -> None: ...
    def reset_in(self, now: float) -> float: ...


class FixedWindow:
    """Opens with the first thing counted in it, and forgets everything at once `length` seconds later."""

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
    """Forgets each thing counted `length` seconds after it was counted."""

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
    """Where a key stands: how much is left, and in how many seconds there will be more."""

    remaining: int
    reset_in: float


class Limiter:
    """`limit` things per `window` seconds and key; thread-safe. `limit=None`: no limit, nothing counted."""

    def __init__(self, limit: int | None, window: float, model: str, clock: Clock) -> None:
        self.limit = limit
        self.window = window
        self._model = MODELS[model]
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[Hashable, _Window] = {}

    def standing(self, key: Hashable) -> Standing | None:
        """None where there is no limit."""
        with self._lock:
            return self._standing(key)

    def spend(self, key: Hashable, count: int = 1) -> None:
        """Count `count` more, whether there is room or not."""
        with self._lock:
            if self.limit is not None and count > 0:
                now = self._clock()
                window = self._of(key)
                window.spent(now)
                window.spend(now, count)

    def take(self, key: Hashable) -> bool:
        """Count one more if there is room; say whether there was."""
        with self._lock:
            standing = self._standing(key)
            if standing is None:
                return True
            if standing.remaining > 0:
                self._of(key).spend(self._clock(), 1)
            return standing.remaining > 0

    def _standing(self, key: Hashable) -> Standing | None:
        if self.limit is None:
            return None
        now = self._clock()
        window = self._of(key)
        return Standing(max(0, self.limit - window.spent(now)), window.reset_in(now))

    def _of(self, key: Hashable) -> _Window:
        return self._windows.setdefault(key, self._model(self.window))
