"""One repository's circuit breaker: closed while the Hub refuses, and one commit at a time.

A refusal closes the gate for all writers of this process until the moment that the server named. Then they go one by
one, first come, first served, so a spent window costs one refusal and not one per writer. The Hub carries out one
commit per repository at a time, so this order costs nothing.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from weakref import WeakValueDictionary

from mat_vis_hub._hub.repository import LONGEST_COMMIT, Repository
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.per_process import PerProcess

_MOST_CLOSED = 1000
_MOST_LANDED = 1000  # commits that are remembered; no quota of the Hub is larger
_numbers = itertools.count()


class Gate:
    """The gate of one repository. `reopens_at` is on the package's monotonic clock."""

    def __init__(self, closed: set[Gate] | None = None) -> None:
        self._lock = threading.Lock()
        self._holder: Permit | None = None
        self._waiting: list[Permit] = []
        self._closed: set[Gate] = set() if closed is None else closed
        self._landed: deque[float] = deque(maxlen=_MOST_LANDED)
        self._quota: tuple[int | None, float | None] = (None, None)
        self.reopens_at = -math.inf

    def close(self, seconds: float, limit: int | None = None, window: float | None = None) -> float:
        """
        Close for this long, whatever an earlier refusal said. Returns when the gate reopens.

        Args:
            seconds (`float`): How long.
            limit (`int`, *optional*), window (`float`, *optional*): The quota that the refusal named.
        """
        self.reopens_at = clock.monotonic() + seconds
        self._quota = limit or self._quota[0], window or self._quota[1]
        self._closed.add(self)
        if len(self._closed) > _MOST_CLOSED:
            now = clock.monotonic()
            self._closed -= {gate for gate in self._closed.copy() if gate.reopens_at <= now}
        return self.reopens_at

    def open(self) -> None:
        """A commit landed, so the Hub does not refuse any more."""
        self._landed.append(clock.monotonic())
        if self.reopens_at > -math.inf:
            self.reopens_at = -math.inf
            self._closed.discard(self)

    def usage(self, limit: int, window: float) -> tuple[int, int, float, tuple[float, ...]]:
        """
        How much of the quota is used, as far as this process can tell.

        Args:
            limit (`int`), window (`float`): The quota, unless a refusal has named another one.

        Returns:
            The commits used, the limit, the window in seconds, and in how many seconds each commit leaves it.
        """
        limit, window = self._quota[0] or limit, self._quota[1] or window
        now = clock.monotonic()
        frees_in = tuple(moment + window - now for moment in list(self._landed) if moment > now - window)
        if self.reopens_at > now:
            return limit, limit, window, (self.reopens_at - now,) * limit
        return len(frees_in), limit, window, frees_in


class WiderGate:
    """
    The gate of a repository whose commits count towards a wider quota, its owner's or a token's.

    A refusal closes the gates of all repositories that share this quota. Each still sends one commit at a time.

    Args:
        own (`Gate`): The repository's.
        shared (`Gate`): The one of the quota.
    """

    def __init__(self, own: Gate, shared: Gate) -> None:
        self._both = (own, shared)

    @property
    def reopens_at(self) -> float:
        return max(gate.reopens_at for gate in self._both)

    def close(self, seconds: float, limit: int | None = None, window: float | None = None) -> float:
        """As [`Gate.close`]."""
        return max(gate.close(seconds, limit, window) for gate in self._both)

    def open(self) -> None:
        """As [`Gate.open`]."""
        for gate in self._both:
            gate.open()


class Permit:
    """
    One commit's permission to be sent: acquired before each attempt, and released when the commit is done.

    Permits are granted in the order in which they were made, also to a commit that asks again after a refusal.

    Args:
        gate (`Gate`): The gate of the commit's repository.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._number = next(_numbers)
        self._granted: threading.Event | None = None  # made by the first wait
        self._thread = 0  # the thread that acquires it
        # On the real clock. Set while the commit is sent, and while a block of code holds the permit between commits.
        self.active_since: float | None = None

    def __lt__(self, other: Permit) -> bool:
        return self._number < other._number

    @property
    def is_held(self) -> bool:
        """Whether it is this permit's turn. Not so for a commit that goes out of turn, or inside of another one."""
        return self._gate._holder is self

    def acquire(self, wait: Callable[[threading.Event, float], bool]) -> None:
        """
        Wait until no other commit is under way, unless this thread holds a permit already.

        A holder that has been active for longer than [`LONGEST_COMMIT`] is not waited for.

        Args:
            wait (`Callable`):
                Called with an event and seconds, as often as it takes. It waits for the event, no longer than that,
                and returns whether to stop waiting: because the event is set, or for a reason of its own.
        """
        gate = self._gate
        with gate._lock:
            self._thread = threading.get_ident()
            if gate._holder is None:
                gate._holder = self
            if gate._holder._thread == self._thread:  # a hook that commits while its commit waits would wait for ever
                return
            granted = self._granted = threading.Event()
            insort(gate._waiting, self)
        try:
            # Each commit ahead takes this long at most. So few of thousands wake up before it is their turn.
            while not wait(granted, LONGEST_COMMIT * (self._position() + 1)) and not self._overtakes():
                pass
        except BaseException:
            self.release()  # it may have been granted at that moment
            raise
        finally:
            with gate._lock:
                if self._is_waiting():
                    del gate._waiting[self._position()]

    def _position(self) -> int:
        """How many commits wait ahead of this one."""
        return bisect_left(self._gate._waiting, self)

    def _is_waiting(self) -> bool:
        waiting, position = self._gate._waiting, self._position()
        return position < len(waiting) and waiting[position] is self

    def _overtakes(self) -> bool:
        """Take the place of a holder that hangs. Its own `release` changes nothing then."""
        gate = self._gate
        with gate._lock:
            since = gate._holder.active_since if gate._holder is not None else None
            hangs = since is not None and time.monotonic() - since >= LONGEST_COMMIT
            if hangs and gate._waiting[:1] == [self]:
                gate._holder = self
            return gate._holder is self

    def release(self) -> None:
        """Let the next commit go. Does nothing if this permit is not held."""
        gate = self._gate
        with gate._lock:
            if gate._holder is self:
                gate._holder = gate._waiting.pop(0) if gate._waiting else None
                if gate._holder is not None and gate._holder._granted is not None:
                    gate._holder._granted.set()


class Gates:
    """
    The gates of a process, by repository or by the key of a wider quota.

    An open gate that no commit uses is forgotten, except the latest one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed: set[Gate] = set()
        self._gates: WeakValueDictionary[Repository | str, Gate] = WeakValueDictionary()
        self._latest: Gate | None = None

    def of(self, repository: Repository | str) -> Gate:
        with self._lock:
            gate = self._gates.get(repository)
            if gate is None:
                gate = self._gates[repository] = Gate(self._closed)
            self._latest = gate  # most jobs commit to one repository, whose gate need not be made for each commit
            return gate


current = PerProcess(Gates)
