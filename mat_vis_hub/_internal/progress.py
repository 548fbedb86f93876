"""Shows that a wait goes on: a progress bar for people, a line every five minutes for logs."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mat_vis_hub._internal import clock
from mat_vis_hub._internal.sanitize import elapsed, one_line

_WORTH_SHOWING = 5.0  # seconds
_HEARTBEAT = 300.0  # seconds; CI runners take a job for dead after ten silent minutes
_REFRESH = 1.0  # seconds

_bar_is_free = threading.Lock()  # however many threads wait, one bar shows it


def wait_until(deadline: float, *, what: str, reason: str, since: float) -> None:
    """
    Wait for `deadline` on the package's monotonic clock, and show it.

    Args:
        deadline (`float`): When to return.
        what (`str`): What waits, for the log, as `key=value` words.
        reason (`str`): Why, in a few words, for a person.
        since (`float`): When the call that waits began, on the same clock.
    """
    seconds = deadline - clock.monotonic()
    if seconds < _WORTH_SHOWING:
        clock.wait_until(deadline)
    elif not someone_watches():
        clock.wait_until(deadline, tick=_heartbeat(deadline, what, since), every=_HEARTBEAT)
    elif _bar_is_free.acquire(blocking=False):
        with _progress_bar(seconds, reason) as tick:
            clock.wait_until(deadline, tick=tick, every=_REFRESH)
    else:
        clock.wait_until(deadline)


def someone_watches() -> bool:
    """Whether a progress bar would be seen: a terminal or a notebook, and bars are not disabled."""
    from huggingface_hub.utils import are_progress_bars_disabled, is_notebook

    if are_progress_bars_disabled():
        return False
    with contextlib.suppress(Exception):  # standard error may be None, closed, or anything
        return bool(is_notebook() or sys.stderr.isatty())
    return False


@contextmanager
def _progress_bar(seconds: float, reason: str) -> Iterator[clock.Tick]:
    from huggingface_hub import utils

    progress_bar: Any = utils.tqdm  # huggingface_hub's own: it honours HF_HUB_DISABLE_PROGRESS_BARS
    bar = progress_bar(
        total=math.ceil(seconds),
        desc=one_line(reason),
        bar_format="{desc}: {bar} {n_fmt}/{total_fmt} s",
        leave=False,
    )

    def tick(remaining: float) -> None:
        bar.n = min(bar.total, math.floor(seconds - remaining))
        bar.refresh()

    try:
        yield tick
    finally:
        _bar_is_free.release()
        bar.close()


def _heartbeat(deadline: float, what: str, since: float) -> clock.Tick:
    first = True

    def tick(remaining: float) -> None:
        nonlocal first
        now = deadline - remaining
        if not first and now - clock.current.last_heartbeat >= _HEARTBEAT / 2:
            clock.current.last_heartbeat = now  # however many threads wait, one line says it
            with contextlib.suppress(Exception):  # no log is worth a commit
                sys.stderr.write(f"bake_waiting {what} wait_s={remaining:.1f} elapsed={elapsed(now - since)}\n")
                sys.stderr.flush()
        first = False  # at the beginning the event itself has just been told

    return tick
