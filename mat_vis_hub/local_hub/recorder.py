"""What the Hub has seen, for assertions: requests, commits, refusals. Never a token."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class SeenRequest:
    """
    A request that was answered or dropped.

    Args:
        time (`float`): When it was answered, in seconds since the epoch, on the Hub's clock.
        method (`str`): For example `"POST"`.
        path (`str`): As sent, percent-encoded, without the query.
        endpoint (`str`): One of `LocalHub.endpoints`, or `"unknown"`.
        status (`int`, *optional*): `None` if the connection was dropped without an answer.
        bytes_received (`int`): Of the body.
    """

    time: float
    method: str
    path: str
    endpoint: str
    status: int | None
    bytes_received: int


@dataclass(frozen=True)
class SeenCommit:
    """
    A commit that the quota counts: one that a client made, or a merge.

    Args:
        time (`float`): Seconds since the epoch, on the Hub's clock.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        repo (`str`): For example `"you/textures"`.
        revision (`str`): The branch, or for example `"refs/pr/1"`.
        oid (`str`): The commit's id.
        message (`str`): Its title.
        paths (`tuple` of `str`): What it changed, sorted.
    """

    time: float
    repo_type: str
    repo: str
    revision: str
    oid: str
    message: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class SeenRefusal:
    """
    An answer 429, or the 409 of a repository that is carrying out another commit.

    Args:
        time (`float`): Seconds since the epoch, on the Hub's clock.
        kind (`str`): The quota (`"commit"`, `"creation"`, `"pull-request"`, `"discussion"`) or the bucket (`"api"`,
            `"resolvers"`, `"pages"`, `"whoami"`) that was used up; `"lock"` for the 409, `"queue"` for the git queue's
            429, `"scripted"` for `LocalHub.answer`.
        endpoint (`str`): One of `LocalHub.endpoints`, or `"unknown"`.
        repo_type (`str`, *optional*): The repository's type; `None` if the request was about none.
        repo (`str`, *optional*): The repository's id.
    """

    time: float
    kind: str
    endpoint: str
    repo_type: str | None
    repo: str | None


class Recorder:
    """Records what the Hub sees. Its lists are snapshots. Thread-safe."""

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
