"""What the Hub saw, for assertions: requests, commits, refusals. Never a token."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class SeenRequest:
    time: float
    method: str
    path: str  # as it came, percent-encoding and all, without the query
    endpoint: str
    status: int | None  # None: the connection was dropped without an answer
    bytes_received: int  # of the body


@dataclass(frozen=True)
class SeenCommit:
    time: float
    repo_type: str
    repo: str
    revision: str
    oid: str
    message: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class SeenRefusal:
    """An answer 429. `kind` says why: "commit" or "api", the two limits, or "scripted"."""

    time: float
    kind: str
    endpoint: str
    repo_type: str | None
    repo: str | None


class Recorder:
    """Thread-safe; what it hands out are snapshots."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[SeenRequest] = []
        self._commits: list[SeenCommit] = []
        self._refusals: list[SeenRefusal] = []

    def add(self, seen: SeenRequest | SeenCommit | SeenRefusal) -> None:
        with self._lock:
            if isinstance(seen, SeenRequest):
                self._requests.append(seen)
            elif isinstance(seen, SeenCommit):
                self._commits.append(seen)
            else:
                self._refusals.append(seen)

    @property
    def requests(self) -> list[SeenRequest]:
        with self._lock:
            return list(self._requests)

    @property
    def commits(self) -> list[SeenCommit]:
        with self._lock:
            return list(self._commits)

    @property
    def refusals(self) -> list[SeenRefusal]:
        with self._lock:
            return list(self._refusals)
