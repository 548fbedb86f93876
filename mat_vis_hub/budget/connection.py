"""One connection per process, for drivers whose connections must not be shared with a forked child."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


_PATIENCE = 2.0  # seconds; threads that queue for a place that does not answer do not add up their waits


class _Here(Generic[C]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: C | None = None


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
            self._drop(here)
            raise
        finally:
            here.lock.release()

    def close(self) -> None:
        here = self._by_pid.setdefault(os.getpid(), _Here())
        with here.lock:
            self._drop(here)

    def _drop(self, here: _Here[C]) -> None:
        connection, here.connection = here.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_by_pid": {}}
