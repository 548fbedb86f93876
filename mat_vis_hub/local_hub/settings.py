"""The arguments of a `LocalHub`, checked."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

from mat_vis_hub._internal import clock as package_clock
from mat_vis_hub.local_hub.limiter import MODELS, Clock

GIGABYTE = 10**9


@dataclass(frozen=True)
class Settings:
    """What `LocalHub` documents. Raises `ValueError` that names the argument and says what it may be."""

    limit: int | None = 128
    window: float = 3600
    model: str = "fixed"
    api_limit: int | None = 1000
    api_window: float = 300
    resolvers_limit: int | None = None
    commit_duration: float = 0.0
    path: str | os.PathLike[str] | None = None
    clock: Clock = package_clock.wall
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default=None, repr=False)
    owners: tuple[str, ...] | None = None
    multipart_threshold: int = 5 * GIGABYTE

    def __post_init__(self) -> None:
        for name in ("limit", "api_limit", "resolvers_limit"):
            value = getattr(self, name)
            self._check(value is None or _is_whole(value, 0), name, "a whole number, 0 or more, or None for no limit")
        for name in ("window", "api_window"):
            self._check(_is_positive(getattr(self, name)), name, "a number of seconds above 0")
        valid = self.commit_duration == 0 or _is_positive(self.commit_duration)
        self._check(valid, "commit_duration", "a number of seconds, 0 or more")
        self._check(self.model in MODELS, "model", f"one of {', '.join(map(repr, MODELS))}")
        self._check(_is_whole(self.port, 0) and self.port < 65536, "port", "a whole number from 0 to 65535")
        self._check(_is_whole(self.multipart_threshold, 1), "multipart_threshold", "a number of bytes, 1 or more")
        owners = self.owners is None or (not isinstance(self.owners, str) and len(self.owners) > 0)
        self._check(owners, "owners", "a tuple of at least one namespace, or None for all")

    def _check(self, valid: bool, name: str, expected: str) -> None:
        if not valid:
            raise ValueError(f"{name} is {getattr(self, name)!r}; it is {expected}.")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
