"""What an operator is told: the events, their log lines (a contract: other people's scrapers read them), the hooks."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import TypeAlias

_LONGEST_FIELD = 200
_logger = logging.getLogger("mat_vis_hub")


@dataclass(frozen=True)
class ThrottleEvent:
    """
    A commit was refused with 429 and will be tried again.

    Args:
        source (`str`): Who is writing, for attribution: `ambientcg`, `polyhaven`, ...
        repo_id (`str`): The repository that was refused.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        revision (`str`): The branch committed to.
        retry (`int`): The retry that follows; the first is 1.
        max_retries (`int`): The retries that the policy allows.
        wait_s (`float`): Seconds until that retry.
        elapsed_s (`float`): Seconds since this `create_commit` began.
        hint (`str`): What the wait rests on: `"retry-after"`, `"ratelimit"`, `"body"` or `"backoff"`.
        error (`Exception`): The refusal, as huggingface_hub raised it.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    retry: int
    max_retries: int
    wait_s: float
    elapsed_s: float
    hint: str
    error: Exception

    @property
    def line(self) -> str:
        return (
            f"bake_throttle source={_field(self.source)} retry={self.retry}/{self.max_retries} reason=429 "
            f"wait_s={self.wait_s:.1f} elapsed={elapsed(self.elapsed_s)}"
        )


@dataclass(frozen=True)
class PaceEvent:
    """
    A commit waits before it is sent at all, because it is known that it would be refused.

    Args:
        source, repo_id, repo_type, revision (`str`): As in [`ThrottleEvent`].
        reason (`str`):
            Who knows: `"gate"`, where another writer of this process has just been refused; `"budget"`, where the
            window is spent; `"refused"`, where another sharer of the budget has been refused.
        wait_s (`float`): Seconds until it is sent.
        elapsed_s (`float`): Seconds since this `create_commit` began.
        used (`int`, *optional*): Commits counted in the window, where there is a budget.
        limit (`int`, *optional*): Commits that the window takes, where there is a budget.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    reason: str
    wait_s: float
    elapsed_s: float
    used: int | None = None
    limit: int | None = None

    @property
    def line(self) -> str:
        used = f"used={self.used}/{self.limit} " if self.limit is not None else ""
        return (
            f"bake_pace source={_field(self.source)} repo={_field(self.repo_id)} reason={_field(self.reason)} {used}"
            f"wait_s={self.wait_s:.1f} elapsed={elapsed(self.elapsed_s)}"
        )


@dataclass(frozen=True)
class ConflictEvent:
    """
    A transaction's commit was refused with 412, because another one came first; it will be built afresh.

    Args:
        source, repo_id, repo_type, revision (`str`): As in [`ThrottleEvent`].
        retry (`int`): The retry that follows; the first is 1.
        max_retries (`int`): The retries that the transaction allows.
        wait_s (`float`): Seconds until that retry.
        elapsed_s (`float`): Seconds since this transaction began.
        error (`Exception`): The refusal, as huggingface_hub raised it.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    retry: int
    max_retries: int
    wait_s: float
    elapsed_s: float
    error: Exception

    @property
    def line(self) -> str:
        return (
            f"bake_conflict source={_field(self.source)} repo={_field(self.repo_id)} "
            f"retry={self.retry}/{self.max_retries} reason=412 elapsed={elapsed(self.elapsed_s)}"
        )


@dataclass(frozen=True)
class RecoveredEvent:
    """
    A commit had landed although its response was lost.

    Args:
        source, repo_id, repo_type, revision (`str`): As in [`ThrottleEvent`].
        oid (`str`): The commit.
    """

    source: str
    repo_id: str
    repo_type: str
    revision: str
    oid: str

    @property
    def line(self) -> str:
        return f"bake_recovered source={_field(self.source)} repo={_field(self.repo_id)} oid={_field(self.oid)}"


Event: TypeAlias = ThrottleEvent | PaceEvent | ConflictEvent | RecoveredEvent
Hook: TypeAlias = Callable[[Event], object]


def print_line(event: Event) -> None:
    """The default hook: the event's line on standard output, flushed."""
    if sys.stdout is None:  # pythonw, or a daemon that closed it
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    line = event.line.encode(encoding, "backslashreplace").decode(encoding)
    sys.stdout.write(f"{line}\n")  # in one piece: other threads write too
    sys.stdout.flush()


def log_event(event: Event) -> None:
    """
    A hook for `logging`: the event's line as a warning of the logger `mat_vis_hub`, its fields in `extra`.

    Example:
    ```python
    >>> from mat_vis_hub import ThrottledHfApi, log_event
    >>> api = ThrottledHfApi(hooks=[log_event])

    ```
    """
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    extra = {name: value if isinstance(value, (int, float)) else one_line(str(value)) for name, value in values.items()}
    _logger.warning("%s", event.line, extra=extra)


class Hooks:
    """The hooks of one API object. One that raises is reported once, and never breaks a commit."""

    def __init__(self, hooks: Iterable[Hook] | None) -> None:
        if hooks is None:
            hooks = (print_line,)
        if callable(hooks) or not isinstance(hooks, Iterable):
            raise TypeError(f"hooks={hooks!r}: hooks must be a list of callables, as in hooks=[my_hook].")
        self._hooks = tuple(hooks)
        for hook in self._hooks:
            if not callable(hook):
                raise TypeError(f"hooks: {hook!r} is not callable; each hook is called with one event.")
        self._reported: set[int] = set()

    def tell(self, event: Event) -> None:
        for index, hook in enumerate(self._hooks):
            try:
                hook(event)
            except Exception:
                if index not in self._reported:
                    self._reported.add(index)
                    name = getattr(hook, "__qualname__", type(hook).__qualname__)
                    with contextlib.suppress(Exception):  # the report goes through handlers that may fail as well
                        _logger.exception("The hook %s failed; the commit goes on, and this is said only once.", name)


def elapsed(seconds: float) -> str:
    """Minutes and whole seconds, as the log lines have it: `75m0s`."""
    whole = max(0, int(seconds))
    return f"{whole // 60}m{whole % 60}s"


_TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}")


def without_secrets(text: str, secrets: Iterable[object] = ()) -> str:
    """`text` without the given secrets, and without whatever looks like a token of the Hub."""
    for secret in secrets:
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return _TOKEN.sub("***", text)


def one_line(text: str) -> str:
    """`text` without anything that could begin another line, or hide in one."""
    return "".join(char if char.isprintable() else " " for char in text)


def _field(value: str) -> str:
    """`value` as one word: no white space, nothing that could begin another line or another field."""
    word = "".join(char if char.isprintable() and not char.isspace() else "_" for char in value[:_LONGEST_FIELD])
    return without_secrets(word) or "unknown"
