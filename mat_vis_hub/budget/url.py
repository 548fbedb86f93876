"""A budget's URL: where the count is kept, how to connect there, and what a window takes."""

from __future__ import annotations

import importlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub.budget.fail_open import FailOpenBudget
from mat_vis_hub.budget.protocol import LIMIT, WINDOW, CommitBudget
from mat_vis_hub.budget.scope import SCOPES

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from mat_vis_hub.budget.stored import Backfill, StoredBudget

    Read = Callable[[Repository], HfApi]

_KNOWN = "memory://, sqlite:////absolute/path, redis://host, rediss://host, postgresql://host/database and hub://"
_OURS = ("limit", "window", "scope", "seed", "strict")
_CHOICES = {"scope": SCOPES, "seed": ("hub",), "strict": ("0", "1")}
_INSTEAD = {
    "hub://": "Use another budget, such as sqlite:////absolute/path?scope={scope}.",
    "seed=hub": "Leave one of the two out.",
}
_EXTRAS = {"redis": "redis", "psycopg": "postgres"}  # which extra brings a driver
_METHODS = ("reserve", "renew", "confirm", "cancel", "refused", "status", "close")


def as_budget(budget: str | CommitBudget | None, *, read: Read | None = None) -> FailOpenBudget | None:
    """
    What `ThrottledHfApi(budget=...)` takes, ready for use by commits.

    Args:
        budget (`str` or `CommitBudget`, *optional*):
            A URL as [`from_url`] takes it, or an object that implements [`CommitBudget`].
        read (`Callable`, *optional*):
            As in [`from_url`].

    Returns:
        [`FailOpenBudget`] or `None`: `None` for no budget. A budget that cannot be used now is one that fails open,
        with a warning, unless its URL says `strict=1`.

    Raises:
        [`TypeError`](https://docs.python.org/3/library/exceptions.html#TypeError)
            If it is neither a URL nor a budget.
        And whatever [`from_url`] raises.

    Example:
    ```python
    >>> from mat_vis_hub.budget import as_budget
    >>> as_budget("memory://?limit=256")
    FailOpenBudget(MemoryBudget('memory://?limit=256'))
    >>> as_budget(128)
    Traceback (most recent call last):
    TypeError: A budget is a URL such as "memory://?limit=128", or an object with CommitBudget's methods, not an int.

    ```
    """
    if budget is None:
        return None
    if isinstance(budget, FailOpenBudget):
        return budget
    if isinstance(budget, str):
        budget = from_url(budget, read=read)
    elif isinstance(budget, type) or not all(callable(getattr(budget, name, None)) for name in _METHODS):
        raise TypeError(_not_a_budget(budget))
    guarded = FailOpenBudget(budget)
    guarded.open()
    return guarded


def from_url(url: str, *, read: Read | None = None) -> CommitBudget:
    """
    The budget that a URL names. It connects on first use.

    Args:
        url (`str`):
            `memory://`, `sqlite:////absolute/path` (three slashes: a path relative to the working directory),
            `redis://`, `rediss://`, `postgresql://` or `hub://`. `?limit=128&window=3600` sets the quota, in commits
            and seconds. `?scope=owner` counts the commits to all repositories of one owner together, `?scope=token`
            those that are sent with one token (a hash of it is stored, and a new token begins a new count), and
            `?scope=repo`, the default, each repository apart. `?seed=hub` counts the commits in the repository's
            history on first use. `?strict=1` makes commits fail if their budget does. Other parameters are for the
            driver of Redis or Postgres.
        read (`Callable`, *optional*):
            Given a repository, the `HfApi` to read its history with, for `hub://` and `?seed=hub`. Defaults to one with
            the token of the environment. The token of a commit, if it has one of its own, replaces the one of this
            `HfApi`.

    Returns:
        `CommitBudget`. It raises [`BudgetError`] while the count cannot be kept. [`FailOpenBudget`] goes on without.

    Raises:
        [`ValueError`](https://docs.python.org/3/library/exceptions.html#ValueError)
            If the URL makes no sense, or asks for a count that a history cannot give: that of an owner or a token. No
            message contains its credentials.
        [`ModuleNotFoundError`](https://docs.python.org/3/library/exceptions.html#ModuleNotFoundError)
            If its driver is not installed.
        [`BudgetError`]
            If it says `strict=1`, and its server or file cannot be used now.

    Example:
    ```python
    >>> from mat_vis_hub.budget import from_url
    >>> from_url("memory://?limit=256&scope=owner")
    MemoryBudget('memory://?limit=256&scope=owner')

    ```
    """
    if not isinstance(url, str):
        raise TypeError(_not_a_budget(url))
    parsed = _parse(url)
    if parsed.scheme == "hub":
        hub = importlib.import_module("mat_vis_hub.budget.hub")
        budget: CommitBudget = hub.HubBudget(
            read or _plain, limit=parsed.limit, window=parsed.window, strict=parsed.strict
        )
        return budget
    stored = _with_driver(parsed, _backfill(parsed, read))
    stored.shown, stored.secrets, stored.strict = parsed.shown, parsed.secrets, parsed.strict
    stored.scope = parsed.scope
    if parsed.strict:
        stored.open()
    return stored


def _not_a_budget(value: object) -> str:
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    what = f"the class {kind}" if isinstance(value, type) else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    return f'A budget is a URL such as "memory://?limit=128", or an object with CommitBudget\'s methods, not {what}.'


@dataclass(frozen=True)
class _Url:
    """What a URL says."""

    scheme: str
    place: str  # host, port and path; of a file, the path
    shown: str  # without credentials
    limit: int
    window: float
    scope: str
    seed: bool
    strict: bool
    secrets: tuple[str, ...] = ()
    for_driver: str = ""

    def __repr__(self) -> str:
        return f"_Url({self.shown!r})"


def _parse(url: str) -> _Url:
    url = url.strip()
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in _PLACES and scheme != "hub":
        # Without "://" the text may be anything, for example a password.
        named = f" {scheme}" if separator and re.fullmatch(r"[a-z][a-z0-9+.-]{0,19}", scheme) else ""
        raise ValueError(f"The budget's URL has an unknown scheme{named}. Known are {_KNOWN}.")
    if not separator or not url.isprintable():
        raise ValueError(f"The budget's {scheme} URL contains a line break or another control character.")
    account, place, query, shown_place = _split(scheme, rest)
    ours, theirs = _parameters(query)
    shown = f"{scheme}://{shown_place}{_shown_query(ours, theirs)}"
    if theirs and scheme in ("memory", "sqlite", "hub"):
        raise ValueError(f"The budget {shown}: {', '.join(theirs)} is unknown. Known are {', '.join(_OURS)}.")
    for name, allowed in _CHOICES.items():
        if name in ours and ours[name] not in allowed:
            raise ValueError(f"The budget {shown}: {name}={ours[name]!r} must be {' or '.join(allowed)}, or left out.")
    if (scope := ours.get("scope", "repo")) != "repo" and (scheme == "hub" or "seed" in ours):
        what = "hub://" if scheme == "hub" else "seed=hub"
        raise ValueError(
            f"The budget {shown}: {what} cannot count with scope={scope}, since it reads the history of one repository."
            f" {_INSTEAD[what].format(scope=scope)}"
        )
    user, colon, password = account.partition(":")
    quoted = f"{quote(unquote(user), safe='')}{colon}{quote(unquote(password), safe='')}@" if account else ""
    return _Url(
        scheme=scheme,
        place=place,
        shown=shown,
        limit=_limit(ours.get("limit", str(LIMIT)), shown),
        window=_window(ours.get("window", str(WINDOW)), shown),
        scope=scope,
        seed="seed" in ours,
        strict=ours.get("strict") == "1",
        secrets=_secrets(account, user, password, *theirs.values()),
        for_driver=f"{scheme}://{quoted}{place}{'?' if theirs else ''}{urlencode(theirs, quote_via=quote)}",
    )


_HOST = r"(?:\[[\w:.%]+\]|[\w.%~-]*)(?::[0-9]{1,5})?"
_PARAMETER = r"[\w.%+-]+(?:=[^&]*)?"
_SERVER = rf"(?P<place>{_HOST}(?:,{_HOST})*(?:/[^?#@\s]*)?)(?:\?(?P<query>(?:{_PARAMETER}(?:&{_PARAMETER})*)?))?"


def _split(scheme: str, rest: str) -> tuple[str, str, str, str]:
    """
    The account, the place, the query, and the place as it may be shown.

    A password may contain any of `/ # ? @ %`. It ends at the first `@` that is followed by what looks like a server.
    """
    if scheme in ("memory", "sqlite", "hub"):
        place, _, query = rest.partition("?")
        if place and (scheme != "sqlite" or not place.startswith("/")):
            raise ValueError(
                f"The budget's {scheme} URL names a host or an account. {scheme}:// takes none: write"
                f" {'sqlite:////absolute/path or sqlite:///relative/path' if scheme == 'sqlite' else scheme + '://'}."
            )
        return "", place, query, place
    ends = [0, *(match.end() for match in re.finditer("@", rest))]
    servers = [(end, match) for end in ends if (match := re.fullmatch(_SERVER, rest[end:])) is not None]
    if not servers:
        raise ValueError(
            f"The budget's {scheme} URL makes no sense. It must look like {scheme}://user:password@host:1234/name, and"
            " special characters in the password should be percent-encoded."
        )
    end, match = servers[0]
    account, place = rest[: max(0, end - 1)], match["place"]
    shown = f"***@{place}" if account else place
    return account, place, match["query"] or "", shown if len(servers) == 1 else "***"


def _parameters(query: str) -> tuple[dict[str, str], dict[str, str]]:
    """What is ours, and what is the driver's."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    values = {unquote(name): unquote(value) for name, _, value in pairs}
    ours = {name: value for name, value in values.items() if name in _OURS}
    return ours, {name: value for name, value in values.items() if name not in _OURS}


def _shown_query(ours: dict[str, str], theirs: dict[str, str]) -> str:
    shown = [f"{name}={value}" for name, value in ours.items()] + [f"{name}=***" for name in theirs]
    return f"?{'&'.join(shown)}" if shown else ""


def _secrets(*values: str) -> tuple[str, ...]:
    """All that must not be shown, as it was written and as a driver may quote it; the longest first."""
    forms = {form for value in values for form in (value, unquote(value), quote(unquote(value), safe=""))}
    return tuple(sorted(filter(None, forms), key=len, reverse=True))


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


def _backfill(parsed: _Url, read: Read | None) -> Backfill | None:
    if not parsed.seed:
        return None
    ages: Backfill = importlib.import_module("mat_vis_hub.budget.hub").ages(read or _plain, parsed.window)
    return ages


def _plain(repository: Repository) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(endpoint=repository.endpoint)


def _with_driver(parsed: _Url, backfill: Backfill | None) -> StoredBudget:
    """The budget, or an error of ours that quotes nothing of the driver's."""
    try:
        return _PLACES[parsed.scheme](parsed, backfill)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        wanted = f'{error.name}, which is not installed: pip install "mat-vis-hub[{extra}]"'
        problem: Exception = ModuleNotFoundError(f"The budget {parsed.shown} needs {wanted}", name=error.name)
    except (TypeError, ValueError):
        problem = ValueError(f"The budget {parsed.shown}: its driver does not accept the parameters or the address.")
    raise problem


def _memory(parsed: _Url, backfill: Backfill | None) -> StoredBudget:
    from mat_vis_hub.budget.memory import MemoryBudget

    return MemoryBudget(parsed.shown, parsed.limit, parsed.window, backfill)


def _sqlite(parsed: _Url, backfill: Backfill | None) -> StoredBudget:
    from mat_vis_hub.budget.sqlite import SQLiteBudget

    return SQLiteBudget(Path(os.path.abspath(unquote(parsed.place[1:]))), parsed.limit, parsed.window, backfill)


def _redis(parsed: _Url, backfill: Backfill | None) -> StoredBudget:
    from mat_vis_hub.budget.redis import RedisBudget

    return RedisBudget(parsed.for_driver, parsed.shown, parsed.limit, parsed.window, backfill)


def _postgres(parsed: _Url, backfill: Backfill | None) -> StoredBudget:
    from mat_vis_hub.budget.postgres import PostgresBudget

    return PostgresBudget(parsed.for_driver, parsed.shown, parsed.limit, parsed.window, backfill)


_PLACES: dict[str, Callable[[_Url, Backfill | None], StoredBudget]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "redis": _redis,
    "rediss": _redis,
    "postgresql": _postgres,
    "postgres": _postgres,
}
