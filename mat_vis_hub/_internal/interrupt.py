"""Waits that can be called off: by their owner from any thread, and by Ctrl-C outside the main thread.

Python raises `KeyboardInterrupt` in the main thread only. A worker thread that waits for an hour would keep the process
alive for that hour, because `with ThreadPoolExecutor()`, `asyncio.run` and the end of the interpreter all join it. So
while worker threads wait, one daemon thread checks whether Ctrl-C has ended the main thread's work and the main thread
is now joining threads. If so, it calls off the waits of the worker threads. No signal handler is installed.

A main thread that simply ends is no interruption: the waits of its background threads go on.
"""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType, TracebackType
from weakref import WeakSet

from mat_vis_hub._internal.per_process import PerProcess
from mat_vis_hub.errors import WaitCancelled

_CHECK_INTERVAL = 0.2  # seconds between two looks at the main thread
_MAIN_THREAD_PIECE = 1.0  # seconds; Windows delivers Ctrl-C only between two waits for a lock
_WORKER_PIECE = 86_400.0  # seconds; a lock takes no timeout of more than 49 days on Windows
_CALLED_OFF = "The wait was called off before its end."


class Wait:
    """
    The wait of one thread. A context manager, inside which [`Wait.sleep`] may be called any number of times.

    Args:
        owner (`object`, *optional*): Whose wait it is, for [`cancel`]. Often a [`CancelScope`].
        event (`threading.Event`, *optional*): What [`Wait.for_event`] waits for.
    """

    def __init__(self, owner: object | None, event: threading.Event | None = None) -> None:
        self.owner = owner
        self.in_main_thread = threading.current_thread() is threading.main_thread()
        self._wake_up = event if event is not None else threading.Event()
        self._is_called_off = False

    def __enter__(self) -> Wait:
        _registry.value.add(self)
        if isinstance(self.owner, CancelScope) and self.owner.is_cancelled:
            _registry.value.remove(self)
            raise WaitCancelled(_CALLED_OFF)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _registry.value.remove(self)

    def sleep(self, seconds: float) -> None:
        """
        Sleep for `seconds`. Where `time.sleep` has been replaced, call it once instead.

        Raises:
            [`WaitCancelled`]: If the wait was called off.
        """
        if is_sleep_replaced():
            time.sleep(seconds)
            self.check()
        else:
            self.for_event(seconds)

    def for_event(self, seconds: float) -> bool:
        """
        Wait for the event, no longer than `seconds`. Returns whether it is set.

        Raises:
            [`WaitCancelled`]: If the wait was called off. The event is set then.
        """
        if not self.in_main_thread:
            _registry.value.watch_main_thread()
        longest = _MAIN_THREAD_PIECE if self.in_main_thread else _WORKER_PIECE
        while seconds > 0:
            piece, began = min(seconds, longest), time.monotonic()
            if self._wake_up.wait(piece):
                break
            seconds -= passed(piece, time.monotonic() - began)
        self.check()
        return self._wake_up.is_set()

    def call_off(self) -> None:
        self._is_called_off = True
        self._wake_up.set()

    def check(self) -> None:
        """Raise `WaitCancelled` if the wait was called off."""
        if self._is_called_off:
            raise WaitCancelled(_CALLED_OFF)


class CancelScope:
    """Owns the waits of some calls. Once cancelled, these calls wait no more."""

    is_cancelled = False


class Waits:
    """The waits of one object. A copy of it has waits of its own."""

    def __init__(self) -> None:
        self.scope = CancelScope()
        """The owner of the waits of a call that begins now."""
        self._children: WeakSet[Waits] = WeakSet()

    def child(self) -> Waits:
        """Waits that are cancelled with these, and can be cancelled alone."""
        child = Waits()
        self._children.add(child)
        return child

    def cancel(self) -> None:
        """Call off the waits of all calls that have begun, also those that have still to come."""
        scope, self.scope = self.scope, CancelScope()
        scope.is_cancelled = True
        cancel(scope)
        for child in list(self._children):
            child.cancel()

    def __reduce__(self) -> tuple[type[Waits], tuple[()]]:
        return Waits, ()


def cancel(owner: object) -> None:
    """Call off all present waits of `owner`. Its later waits are not affected."""
    for wait in _registry.value.waits():
        if wait.owner is owner:
            wait.call_off()


def passed(slept: float, elapsed: float) -> float:
    """
    The seconds to count for one piece of a wait: what it took, so that many pieces do not add up their delays.

    It is never less than what was slept. A clock that a test has stopped cannot prolong the wait.
    """
    return max(slept, elapsed)


def is_sleep_replaced() -> bool:
    """Whether `time.sleep` is no longer Python's own, as in a test that patches it, or under gevent."""
    # Its type alone does not tell: `slept.append` is a builtin, too.
    return getattr(time.sleep, "__self__", None) is not time


class _Registry:
    """The waits of this process, and the thread that watches the main thread for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: set[Wait] = set()
        self._is_watching = False
        self._was_interrupted = False

    def add(self, wait: Wait) -> None:
        with self._lock:
            self._waits.add(wait)

    def remove(self, wait: Wait) -> None:
        with self._lock:
            self._waits.discard(wait)

    def waits(self) -> list[Wait]:
        with self._lock:
            return list(self._waits)

    def watch_main_thread(self) -> None:
        """Call off the waits of worker threads as soon as the main thread has been interrupted."""
        if self._was_interrupted and self._call_off_if_interrupted():
            return  # a pool goes on to its next task, which need not wait for the next look
        with self._lock:
            if self._is_watching:
                return
            watcher = threading.Thread(target=self._watch, name="mat_vis_hub-interrupt", daemon=True)
            try:
                watcher.start()
            except RuntimeError:  # no more threads, or the interpreter is ending: wait without
                return
            self._is_watching = True

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_CHECK_INTERVAL)
            with self._lock:
                if all(wait.in_main_thread for wait in self._waits):
                    self._is_watching = False
                    return
            self._call_off_if_interrupted()

    def _call_off_if_interrupted(self) -> bool:
        self._was_interrupted = _main_thread_was_interrupted()
        if self._was_interrupted:
            for wait in self.waits():
                if not wait.in_main_thread:
                    wait.call_off()
        return self._was_interrupted


_registry = PerProcess(_Registry)  # the parent's other threads do not exist in a forked child


# Where a main thread is while it joins threads. `asyncio.run` joins those of `asyncio.to_thread` from another thread.
_JOINS = {("threading", "join"), ("asyncio.runners", "close" if sys.version_info >= (3, 11) else "run")}


def _main_thread_was_interrupted() -> bool:
    """Whether the main thread joins other threads because of a Ctrl-C."""
    main = threading.main_thread().ident
    frame: FrameType | None = sys._current_frames().get(main or 0)
    joins = False
    while frame is not None:
        place = frame.f_globals.get("__name__"), frame.f_code.co_name
        if place == ("threading", "_shutdown"):  # the interpreter ends, and has reported the error that ended it
            return _is_ctrl_c(getattr(sys, "last_value", None))
        joins = joins or place in _JOINS
        frame = frame.f_back
    if not joins or not hasattr(sys, "_current_exceptions"):  # PyPy has no such function
        return False
    handled = sys._current_exceptions().get(main or 0)
    return _is_ctrl_c(handled[1] if isinstance(handled, tuple) else handled)  # a tuple before Python 3.12


def _is_ctrl_c(error: BaseException | None) -> bool:
    """Whether `error` is a `KeyboardInterrupt`, or was raised while one was handled."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
