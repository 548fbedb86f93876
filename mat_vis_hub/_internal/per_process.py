"""State that must not survive a fork: values and connections that each process makes for itself."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

T = TypeVar("T")


class _Process:
    """This process. A forked child replaces it, so everything that was made for another one is out of date."""

    def __init__(self) -> None:
        self.lock = threading.RLock()


_process = _Process()


class PerProcess(Generic[T]):
    """
    A value that is made on first use, and made again in a forked child.

    Reading it is cheap and thread-safe. It pickles and copies without its value.

    Args:
        make (`Callable`):
            Makes the value. It runs under a lock that all values of the process share, so it must not block.

    Example:
    ```python
    >>> from mat_vis_hub._internal.per_process import PerProcess
    >>> counts = PerProcess(dict)
    >>> counts.value["a"] = 1
    >>> counts.value
    {'a': 1}

    ```
    """

    __slots__ = ("__weakref__", "_made", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[_Process, T] | None = None

    @property
    def value(self) -> T:
        made = self._made
        if made is None or made[0] is not _process:
            made = self._make_once()
        return made[1]

    @property
    def if_made(self) -> T | None:
        """The value, if this process has made it already."""
        made = self._made
        return made[1] if made is not None and made[0] is _process else None

    def _make_once(self) -> tuple[_Process, T]:
        with _process.lock:
            made = self._made
            if made is None or made[0] is not _process:
                self._made = made = (_process, self._make())
            return made

    def __reduce__(self) -> tuple[type[PerProcess[T]], tuple[Callable[[], T]]]:
        return type(self), (self._make,)


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)

_PATIENCE = 5.0  # seconds; so that threads queueing for a server that does not answer do not add up their waits


class _Held(Generic[C]):
    """A connection and the lock that its threads take in turn."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connection: C | None = None
        self.users = 0  # 1 while a thread uses it
        with _registering:
            _all_held.add(self)

    def drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def __del__(self) -> None:
        self.drop()  # also of a budget that nobody closes


_registering = threading.Lock()
_all_held: WeakSet[_Held[Any]] = WeakSet()


class Connection(Generic[C]):
    """
    One connection per process. It is made on first use and again after an error, and pickles without being open.

    No connection crosses a fork. SQLite keeps its locks in the memory of the process, where a child would inherit
    them for good; a server would see two processes on one socket. So idle connections are closed before a fork.

    Args:
        connect (`Callable`): Makes a connection.
    """

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._held: PerProcess[_Held[C]] = PerProcess(_Held)

    @contextmanager
    def held(self) -> Iterator[C]:
        """
        The connection, for one thread at a time. After any failure it is closed, and the next use makes a new one.

        Raises:
            [`TimeoutError`](https://docs.python.org/3/library/exceptions.html#TimeoutError)
                If another thread has been using it for too long.
        """
        held = self._held.value
        if not held.lock.acquire(timeout=_PATIENCE):
            raise TimeoutError(f"another thread has been waiting for it for {_PATIENCE:g} s")
        held.users += 1
        try:
            if held.connection is None:
                held.connection = self._connect()
            yield held.connection
        except BaseException:
            held.drop()
            raise
        finally:
            held.users -= 1
            held.lock.release()

    def close(self) -> None:
        """Close this process's connection. The next use makes a new one."""
        if (held := self._held.if_made) is not None:
            with held.lock:
                held.drop()

    def __reduce__(self) -> tuple[type[Connection[C]], tuple[Callable[[], C]]]:
        return type(self), (self._connect,)


_fork = threading.Lock()  # two threads may fork at once
_locked: list[_Held[Any]] = []  # from just before a fork until just after it
_inherited: list[Any] = []  # connections in use at the fork; a child that lost them would close its parent's


def _before_fork() -> None:
    _fork.acquire()
    with _registering:
        everything = list(_all_held)
    for held in everything:
        if held.lock.acquire(timeout=_PATIENCE):
            _locked.append(held)
            if held.users == 0:  # else this very thread uses it
                held.drop()


def _after_fork_in_parent() -> None:
    while _locked:
        _locked.pop().lock.release()
    _fork.release()


def _after_fork_in_child() -> None:
    global _process, _fork, _registering
    _process, _fork, _registering = _Process(), threading.Lock(), threading.Lock()
    _locked.clear()
    for held in _all_held:
        _inherited.append(held.connection)
        held.connection = None
    _all_held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
