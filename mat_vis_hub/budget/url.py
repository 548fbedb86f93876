"""A budget's URL: where the count is kept, and what the window takes."""

from __future__ import annotations

import importlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub.budget.protocol import LIMIT, WINDOW, CommitBudget

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from mat_vis_hub.budget.stored import Seed, StoredBudget

    Read = Callable[[Repository], HfApi]

_KNOWN = "memory://, sqlite:////absolute/path, redis://host, rediss://host, postgresql://host/database or hub://"
_OURS = ("limit", "window", "seed")
_DRIVERS = ("pyrate_limiter", "redis", "psycopg")
_MISSING = 'needs {name}, which is not installed: pip install "mat-vis-hub[budget]"'


def from_url(url: str, *, read: Read | None = None) -> CommitBudget:
    """
    The budget that a URL names, ready for use.

    Args:
        url (`str`):
            `memory://`, `sqlite:////absolute/path` (three slashes: a path relative to the working directory),
            `redis://`, `rediss://`, `postgresql://` or `hub://`. `?limit=128&window=3600` sets the quota, in commits
            and seconds; `?seed=hub` counts what the repository's history has already, on first use. What else follows
            the question mark is for the driver of Redis or Postgres.
        read (`Callable`, *optional*):
            Given a repository, the `HfApi` to read its history with, for `hub://` and `?seed=hub`. Defaults to one with
            the token of the environment.

    Returns:
        `CommitBudget`. It raises where the count cannot be kept; [`FailOpenBudget`] goes on without.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If the URL makes no sense.
        [`ModuleNotFoundError`](https://docs.python.org/3/library/exceptions.html#ModuleNotFoundError)
            If its driver is not installed.
        [`BudgetError`]
            If its server or file cannot be used now. No message holds the URL's password.

    Example:
    ```python
    >>> from mat_vis_hub.budget import from_url
    >>> from_url("memory://?limit=256")
    MemoryBudget('memory://')

    ```
    """
    named = _parse(url)
    try:
        if named.parts.scheme == "hub":
            hub = importlib.import_module("mat_vis_hub.budget.hub")
            budget: CommitBudget = hub.HubBudget(read or _plain, limit=named.limit, window=named.window)
            return budget
        logged = _logged(named, _seed(named, read))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _DRIVERS:
            raise
        raise ModuleNotFoundError(
            f"The budget {named.shown} {_MISSING.format(name=error.name)}", name=error.name
        ) from None
    logged.secrets = tuple(filter(None, (named.parts.password, unquote(named.parts.password or ""))))
    logged.open()
    return logged


@dataclass(frozen=True)
class _Named:
    """What a URL says."""

    parts: SplitResult
    shown: str  # without the password
    limit: int
    window: float
    seed: bool
    for_driver: str  # the URL without what is ours


def _parse(url: str) -> _Named:
    if not isinstance(url, str):
        raise TypeError(f"budget={url!r}: a budget is named by a URL: {_KNOWN}.")
    shown = without_password(url)
    parts = urlsplit(url)
    if parts.scheme not in _PLACES and parts.scheme != "hub":
        raise ValueError(f"The budget {shown} has an unknown scheme; there are {_KNOWN}.")
    try:
        parts.port  # noqa: B018  # raises if it is no port
    except ValueError as error:
        raise ValueError(f"The budget {shown} makes no sense: {error}.") from None
    ours, theirs = _query(parts, shown)
    if ours.get("seed", "hub") != "hub":
        raise ValueError(f"The budget {shown}: seed={ours['seed']!r} must be seed=hub, or left out.")
    return _Named(
        parts=parts,
        shown=shown,
        limit=_limit(ours.get("limit", str(LIMIT)), shown),
        window=_window(ours.get("window", str(WINDOW)), shown),
        seed="seed" in ours,
        for_driver=parts._replace(query=urlencode(theirs, quote_via=quote)).geturl(),
    )


def _query(parts: SplitResult, shown: str) -> tuple[dict[str, str], dict[str, str]]:
    """What is ours, and what is the driver's."""
    pairs = dict(parse_qsl(parts.query, keep_blank_values=True))
    ours = {name: value for name, value in pairs.items() if name in _OURS}
    theirs = {name: value for name, value in pairs.items() if name not in _OURS}
    if theirs and parts.scheme in ("memory", "sqlite", "hub"):
        raise ValueError(f"The budget {shown}: {', '.join(theirs)} is unknown; there are {', '.join(_OURS)}.")
    return ours, theirs


def _limit(text: str, shown: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise ValueError(f"The budget {shown}: limit={text!r} must be a whole number of commits, 1 or more.")
    return int(text)


def _window(text: str, shown: str) -> float:
    try:
        window = float(text)
    except ValueError:
        window = math.nan
    if not 0.001 <= window < 1e9:
        raise ValueError(f"The budget {shown}: window={text!r} must be a number of seconds, above 0.")
    return window


def _seed(named: _Named, read: Read | None) -> Seed | None:
    if not named.seed:
        return None
    seed: Seed = importlib.import_module("mat_vis_hub.budget.hub").seed(read or _plain, named.window)
    return seed


def _plain(repository: Repository) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(endpoint=repository.endpoint)


def _logged(named: _Named, seed: Seed | None) -> StoredBudget:
    return _PLACES[named.parts.scheme](named, seed)


def _memory(named: _Named, seed: Seed | None) -> StoredBudget:
    from mat_vis_hub.budget.memory import MemoryBudget

    if named.parts.netloc or named.parts.path:
        raise ValueError(f"The budget {named.shown} names a place; memory:// is the memory of this process.")
    return MemoryBudget("memory://", named.limit, named.window, seed)


def _sqlite(named: _Named, seed: Seed | None) -> StoredBudget:
    from mat_vis_hub.budget.sqlite import SQLiteBudget

    path = unquote(named.parts.path[1:])
    if named.parts.netloc or not path:
        raise ValueError(
            f"The budget {named.shown} names no file: write sqlite:////absolute/path or sqlite:///relative/path."
        )
    return SQLiteBudget(Path(os.path.abspath(path)), named.limit, named.window, seed)


def _redis(named: _Named, seed: Seed | None) -> StoredBudget:
    from mat_vis_hub.budget.redis import RedisBudget

    return RedisBudget(named.for_driver, named.shown, named.limit, named.window, seed)


def _postgres(named: _Named, seed: Seed | None) -> StoredBudget:
    from mat_vis_hub.budget.postgres import PostgresBudget

    return PostgresBudget(named.for_driver, named.shown, named.limit, named.window, seed)


_PLACES: dict[str, Callable[[_Named, Seed | None], StoredBudget]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "redis": _redis,
    "rediss": _redis,
    "postgresql": _postgres,
    "postgres": _postgres,
}


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    url = re.sub(r"(?i)([?&][^=&]*(?:pass|secret)[^=&]*=)[^&]*", r"\1***", url)
    scheme, _, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    if scheme == "sqlite" or not at or ":" not in account:
        return url
    return f"{scheme}://{account.partition(':')[0]}:***@{place}"
