"""The arguments of a `LocalHub`, checked."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

from mat_vis_hub._internal import clock as package_clock
from mat_vis_hub.local_hub.limiter import MODELS, Clock
from mat_vis_hub.local_hub.messages import CONFLICTS, WORDINGS

GIGABYTE = 10**9
QUOTA_SCOPES = ("repo", "owner", "token")
LATE = ("lands", "never")

_LIMITS = (
    "limit",
    "api_limit",
    "resolvers_limit",
    "pages_limit",
    "whoami_limit",
    "creation_limit",
    "pull_request_limit",
    "discussion_limit",
    "queue_limit",
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "model": tuple(MODELS),
    "quota_scope": QUOTA_SCOPES,
    "wording": WORDINGS,
    "conflict": tuple(CONFLICTS),
}


@dataclass(frozen=True)
class Settings:
    """What `LocalHub` documents. Raises `ValueError` that names the argument and says what it may be."""

    limit: int | None = 128
    window: float = 3600
    model: str = "fixed"
    api_limit: int | None = 1000
    api_window: float = 300
    quota_scope: str = "repo"
    retry_after: bool = False
    wording: str = "distance"
    include_seconds: bool = False
    commit_time: float = 1.0
    operation_time: float = 0.05
    speed: float = 50.0
    commit_timeout: float | None = 60.0
    late: str | float = "lands"
    conflict: str = "new"
    queue_limit: int | None = None
    queue_time: float = 30.0
    resolvers_limit: int | None = 5000
    pages_limit: int | None = 200
    whoami_limit: int | None = 20
    creation_limit: int | None = 300
    creation_window: float = 86400
    pull_request_limit: int | None = 10
    discussion_limit: int | None = 10
    path: str | os.PathLike[str] | None = None
    clock: Clock = package_clock.wall
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default=None, repr=False)
    owners: tuple[str, ...] | None = None
    multipart_threshold: int = 5 * GIGABYTE

    def __post_init__(self) -> None:
        for name in _LIMITS:
            value = getattr(self, name)
            self._check(value is None or _is_whole(value, 0), name, "a whole number, 0 or more, or None for no limit")
        for name in ("window", "api_window", "creation_window"):
            self._check(_is_positive(getattr(self, name)), name, "a number of seconds above 0")
        for name in ("commit_time", "operation_time", "queue_time"):
            value = getattr(self, name)
            self._check(_is_zero(value) or _is_positive(value), name, "a number of seconds, 0 or more")
        self._check(_is_positive(self.speed), "speed", "a number above 0")
        timeout = self.commit_timeout is None or _is_positive(self.commit_timeout)
        self._check(timeout, "commit_timeout", "a number of seconds above 0, or None for no timeout")
        self._check(_is_late(self.late), "late", "'lands', 'never', or a probability from 0 to 1")
        for name, choices in _CHOICES.items():
            self._check(getattr(self, name) in choices, name, f"one of {', '.join(map(repr, choices))}")
        for name in ("retry_after", "include_seconds"):
            self._check(isinstance(getattr(self, name), bool), name, "True or False")
        self._check(_is_whole(self.port, 0) and self.port < 65536, "port", "a whole number from 0 to 65535")
        self._check(_is_whole(self.multipart_threshold, 1), "multipart_threshold", "a number of bytes, 1 or more")
        owners = self.owners is None or (not isinstance(self.owners, str) and len(self.owners) > 0)
        self._check(owners, "owners", "a tuple of at least one namespace, or None for all")

    def _check(self, valid: bool, name: str, expected: str) -> None:
        if not valid:
            raise ValueError(f"{name} is {getattr(self, name)!r}; it is {expected}.")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    return _is_number(value) and 0 < value < math.inf  # type: ignore[operator]  # it is a number


def _is_zero(value: object) -> bool:
    return _is_number(value) and value == 0


def _is_late(value: object) -> bool:
    return value in LATE if isinstance(value, str) else _is_number(value) and 0 <= value <= 1  # type: ignore[operator]  # it is a number
