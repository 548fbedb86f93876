"""One connection per process, for drivers whose connections must not be shared with a forked child."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar
from weakref import finalize


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


_PATIENCE = 2.0  # seconds; threads that queue for a place that does not answer do not add up their waits


class _Here(Generic[C]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: C | None = None

    def drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


class PerProcess(Generic[C]):
    """
    Connects when it is first needed, and again after an error. Pickles without its connection.

    A child leaves the connection that it inherited alone for good: closing it would end its parent's.

    Args:
        connect (`Callable`): Makes a connection.
    """

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._by_pid: dict[int, _Here[C]] = {}
        finalize(self, _close_here, self._by_pid)  # also of a budget that nobody closes

    @contextmanager
    def held(self) -> Iterator[C]:
        """The connection, for one thread at a time. One on which anything failed is not used again."""
        here = self._by_pid.setdefault(os.getpid(), _Here())
        if not here.lock.acquire(timeout=_PATIENCE):
            raise TimeoutError(f"another thread has been waiting for it for {_PATIENCE:g} s")
        try:
            if here.connection is None:
                here.connection = self._connect()
            yield here.connection
        except BaseException:
            here.drop()
            raise
        finally:
            here.lock.release()

    def close(self) -> None:
        _close_here(self._by_pid)

    def __reduce__(self) -> tuple[type[PerProcess[C]], tuple[Callable[[], C]]]:
        return PerProcess, (self._connect,)


def _close_here(by_pid: dict[int, _Here[Any]]) -> None:
    if (here := by_pid.get(os.getpid())) is not None:
        here.drop()
