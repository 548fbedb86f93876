"""The package's clock. All code that reads the time or waits does it here, so that tests can replace the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from mat_vis_hub._internal import interrupt

Tick = Callable[[float], object]
"""Called with the seconds of a wait that remain."""


class Clock:
    """Real time."""

    is_real = True  # whether a person could watch a wait

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def wait(
        self, seconds: float, *, owner: object | None = None, tick: Tick | None = None, every: float = math.inf
    ) -> None:
        # The seconds are counted. A test that replaces `time.sleep` does not move the clock.
        with interrupt.Wait(owner) as wait:
            while seconds > 0:
                piece, began = min(seconds, every), self.monotonic()
                if tick is not None:
                    tick(seconds)
                    wait.check()
                wait.sleep(piece)
                seconds -= interrupt.passed(piece, self.monotonic() - began)


current = Clock()


def monotonic() -> float:
    return current.monotonic()


def wall() -> float:
    return current.wall()


def wait(seconds: float, *, owner: object | None = None, tick: Tick | None = None, every: float = math.inf) -> None:
    """
    Wait for `seconds`.

    Args:
        seconds (`float`): How long. Zero and less do not wait.
        owner (`object`, *optional*): Whose wait it is, for `interrupt.cancel`.
        tick (`Callable`, *optional*): Called with the seconds that remain, at the beginning and then `every` seconds.
        every (`float`, *optional*): Seconds between two calls of `tick`.

    Raises:
        [`WaitCancelled`]: If `interrupt.cancel` was called for `owner`, or Ctrl-C ends the process and this is not the
            main thread. In the main thread, Ctrl-C raises `KeyboardInterrupt`.
    """
    current.wait(seconds, owner=owner, tick=tick, every=every)
