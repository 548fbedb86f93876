"""Shows that a wait goes on: a progress bar in a terminal or a notebook, a heartbeat every five minutes elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from mat_vis_hub._internal import clock, interrupt
from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub._internal.sanitize import one_line

_WORTH_SHOWING = 5.0  # seconds
_HEARTBEAT = 300.0  # seconds; CI runners end a job after ten minutes without output
_REFRESH = 1.0  # seconds
_CELLS = 10  # the length of the bar, so that the time and a label fit 40 columns


class _Shared:
    """What the waiting threads of this process share."""

    def __init__(self) -> None:
        self.bar_is_free = threading.Lock()  # one bar at a time, however many threads wait
        self.lock = threading.Lock()
        self.last_heartbeat = (0, -math.inf)  # the thread that called its heartbeat last, and when


_shared = PerProcess(_Shared)


def wait(seconds: float, *, label: str, heartbeat: Callable[[float], object], owner: object | None = None) -> None:
    """
    Wait for `seconds`, and show it.

    Args:
        seconds (`float`): How long.
        label (`str`): What the progress bar says beside the time that is left.
        heartbeat (`Callable`):
            Called with the seconds that remain every five minutes, but not at the beginning, where there is no progress
            bar. If several threads wait, it is called for one of them.
        owner (`object`, *optional*): Whose wait it is, for `interrupt.cancel`.

    Raises:
        [`WaitCancelled`]: If the wait was called off.
    """
    if seconds < _WORTH_SHOWING or not clock.current.is_real:
        clock.wait(seconds, owner=owner)
    elif interrupt.is_sleep_replaced() or not someone_watches():
        clock.wait(seconds, owner=owner, tick=_Heartbeat(seconds, heartbeat), every=_HEARTBEAT)
    elif (bar_is_free := _shared.value.bar_is_free).acquire(blocking=False):
        try:
            with _progress_bar(seconds, one_line(label)) as tick:
                clock.wait(seconds, owner=owner, tick=tick, every=_REFRESH)
        finally:
            bar_is_free.release()
    else:
        clock.wait(seconds, owner=owner)


def someone_watches() -> bool:
    """Whether a progress bar would be seen: a terminal or a notebook, and bars are not disabled."""
    from huggingface_hub.utils import are_progress_bars_disabled, is_notebook

    if are_progress_bars_disabled():
        return False
    with contextlib.suppress(Exception):  # standard error may be None, closed, or anything
        return bool(is_notebook() or sys.stderr.isatty())
    return False


class _Heartbeat:
    """The ticks of one wait. Of all threads that wait, one calls its heartbeat."""

    def __init__(self, seconds: float, call: Callable[[float], object]) -> None:
        self._seconds = seconds
        self._call = call
        self._began = clock.monotonic()

    def __call__(self, remaining: float) -> None:
        if remaining == self._seconds:
            return  # at the beginning an event has just announced the wait
        now = self._began + self._seconds - remaining  # counted: the clock may stand still in a test
        shared = _shared.value
        with shared.lock:
            thread, then = shared.last_heartbeat
            if thread != threading.get_ident() and now - then < _HEARTBEAT / 2:
                return
            shared.last_heartbeat = (threading.get_ident(), now)
        self._call(remaining)


def _countdown(seconds: float) -> str:
    """`44:29`, or `1:02:03`."""
    minutes, rest = divmod(max(0, math.ceil(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _progress_bar(seconds: float, label: str) -> Iterator[clock.Tick]:
    """A bar that empties, with the time that is left before it. Failing to show it does not end the wait."""
    from huggingface_hub.utils import is_notebook

    with contextlib.ExitStack() as stack:
        show: clock.Tick = lambda remaining: None  # noqa: E731  # replaced at once, unless the bar cannot be made
        with contextlib.suppress(Exception):
            show = stack.enter_context((_in_notebook if is_notebook() else _in_terminal)(seconds, label))

        def tick(remaining: float) -> None:
            with contextlib.suppress(Exception):
                show(remaining)

        yield tick


class _Terminal:
    """
    Standard error, without its failures.

    tqdm keeps the lock of all bars if a write fails, and then the uploads of other threads wait for it for ever.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        with contextlib.suppress(Exception):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(Exception):
            self._stream.flush()


@contextmanager
def _in_terminal(seconds: float, label: str) -> Iterator[clock.Tick]:
    from huggingface_hub import utils

    progress_bar: Any = utils.tqdm  # huggingface_hub's own: it honours HF_HUB_DISABLE_PROGRESS_BARS
    literal = label.replace("{", "{{").replace("}", "}}")
    bar = progress_bar(
        file=_Terminal(sys.stderr),
        total=seconds,
        initial=seconds,
        desc=_countdown(seconds),
        bar_format=f"{{desc}} {{bar:{_CELLS}}} {literal}",
        dynamic_ncols=True,
        leave=False,
    )

    def tick(remaining: float) -> None:
        bar.n = remaining
        bar.set_description_str(_countdown(remaining))

    try:
        yield tick
    finally:
        with contextlib.suppress(Exception):
            bar.close()


@contextmanager
def _in_notebook(seconds: float, label: str) -> Iterator[clock.Tick]:
    # Not tqdm's widget: its last state stays in a notebook that is saved.
    handle = import_module("IPython.display").display({"text/plain": ""}, raw=True, display_id=True)

    def tick(remaining: float) -> None:
        full = math.ceil(_CELLS * remaining / seconds)
        text = f"{_countdown(remaining)} {'█' * full}{'░' * (_CELLS - full)} {label}"
        handle.update({"text/plain": text}, raw=True)

    try:
        yield tick
    finally:
        with contextlib.suppress(Exception):
            handle.update({"text/plain": ""}, raw=True)
