"""The buckets of requests that the Hub has declared spent, so that the next request waits instead of being refused.

The `RateLimit` header of every response says what is left of a bucket: `"api";r=0;t=55` means that nothing is, and that
the bucket is refilled in 55 seconds. All requests of this process that the bucket counts wait for that moment.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from typing import NamedTuple

from mat_vis_hub._internal import clock
from mat_vis_hub._internal.per_process import PerProcess

_LONGEST_WINDOW = 3600.0  # seconds; the Hub refills its buckets every five minutes, so a longer wait is not believed
_MOST_SPENT = 1000


class Account(NamedTuple):
    """
    Whose requests a bucket counts.

    Args:
        endpoint (`str`): The Hub.
        token (`int`): A hash of the token. Requests without one are counted by their address, which they share.
    """

    endpoint: str
    token: int


class Spent(NamedTuple):
    """
    A bucket of which nothing is left.

    Args:
        name (`str`): `"api"`, `"resolvers"`, ...
        until (`float`): When it is refilled, on the package's monotonic clock.
        word (`int`): The number of the word that said so.
    """

    name: str
    until: float
    word: int


class Buckets:
    """The spent buckets that a process knows. A bucket is forgotten when it is refilled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent: dict[tuple[Account, str], Spent] = {}
        self.words = 0  # how many have said that a bucket is spent

    def __bool__(self) -> bool:
        return bool(self._spent)

    def read(self, header: str, account: Account, since: int, name: str | None = None) -> None:
        """
        Remember what a response says.

        Args:
            header (`str`): Its `RateLimit` header.
            account (`Account`): Whose request it answers.
            since (`int`): `words` before that request was sent. What has been said since is newer than the response.
            name (`str`, *optional*): The bucket that is meant. Defaults to the one that the header names.
        """
        from mat_vis_hub.retry_after import buckets_of

        now = clock.monotonic()
        with self._lock:
            for said in buckets_of(header):
                key = account, name or said.name
                if said.is_spent and 0 < said.reset <= _LONGEST_WINDOW:
                    self.words += 1
                    self._spent[key] = Spent(key[1], now + said.reset, self.words)
                elif key in self._spent and self._spent[key].word <= since:
                    del self._spent[key]
            if len(self._spent) > _MOST_SPENT:
                latest = sorted(self._spent.items(), key=lambda item: item[1].until)
                self._spent = dict(latest[-_MOST_SPENT // 2 :])

    def spent(self, account: Account, names: Iterable[str]) -> Spent | None:
        """The one of these buckets that is refilled last, or `None` if none of them is known to be spent."""
        now = clock.monotonic()
        found: Spent | None = None
        with self._lock:
            for name in names:
                each = self._spent.get((account, name))
                if each is not None and each.until <= now:
                    del self._spent[account, name]
                elif each is not None and (found is None or each.until > found.until):
                    found = each
        return found

    def header(self, url: str, name: str) -> str | None:
        """What the Hub would answer now to a request that somebody else sent, if this bucket is known to be spent."""
        now = clock.monotonic()
        with self._lock:
            left = [
                spent.until - now
                for (account, each), spent in self._spent.items()
                if each == name and url.startswith(f"{account.endpoint}/") and spent.until > now
            ]
        return f'"{name}";r=0;t={math.ceil(max(left))}' if left else None


current = PerProcess(Buckets)
