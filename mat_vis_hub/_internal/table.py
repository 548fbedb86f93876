"""Tables that forget: one drops what does not matter any more, the other one what is oldest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Latest(dict[K, V]):
    """A dictionary of the thousand keys that were added last."""

    most = 1000

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        while len(self) > self.most:
            self.pop(list(self)[0], None)  # noqa: RUF015  # `next(iter(self))` fails if another thread adds a key


class Table(Generic[K, V]):
    """
    Values by key. Each use looks at two other values and drops those that are over, so the table stays bounded.

    Args:
        make (`Callable`): Makes the value of a new key.
        is_over (`Callable`): Whether a value that nobody uses can be dropped.
    """

    def __init__(self, make: Callable[[], V], is_over: Callable[[V], bool]) -> None:
        self._make = make
        self._is_over = is_over
        self._lock = threading.Lock()
        self._values: dict[K, V] = {}
        self._users: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._values)

    @contextmanager
    def used(self, key: K) -> Iterator[V]:
        """The value of the key, which stays in the table meanwhile. Several threads may use it at once."""
        with self._lock:
            self._drop_two()
            if (value := self._values.get(key)) is None:
                value = self._values[key] = self._make()
            self._users[key] = self._users.get(key, 0) + 1
        try:
            yield value
        finally:
            with self._lock:
                self._users[key] -= 1
                if not self._users[key]:
                    del self._users[key]

    def _drop_two(self) -> None:
        """Look at those that have not been looked at for longest: drop them, or put them at the end."""
        for key in list(islice(self._values, 2)):
            value = self._values.pop(key)
            if key in self._users or not self._is_over(value):
                self._values[key] = value
