"""Hooks receive the events: how they are called, and the two that come with the package."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, TypeAlias

from mat_vis_hub._internal.sanitize import one_line

if TYPE_CHECKING:  # most commits emit no event, and load no events
    from mat_vis_hub.events import Event

Hook: TypeAlias = "Callable[[Event], object]"

_logger = logging.getLogger("mat_vis_hub")


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

    Text in `extra` is on one line and without secrets, as in the line.

    Args:
        event (`Event`): The event.

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
    """
    The hooks of one API object. A hook that raises is reported once, and never breaks a commit.

    Args:
        hooks (`Iterable` of `Callable`, *optional*): Each is called with every event. Defaults to [`print_line`].

    Raises:
        `TypeError`: If `hooks` is no list of callables.
    """

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

    def emit(self, event: Event) -> None:
        """Call each hook with `event`."""
        for index, hook in enumerate(self._hooks):
            try:
                hook(event)
            except Exception:
                if index not in self._reported:
                    self._reported.add(index)
                    name = getattr(hook, "__qualname__", type(hook).__qualname__)
                    with contextlib.suppress(Exception):  # the logging handlers may fail, too
                        _logger.exception(
                            "The hook %s failed; the commit goes on. Its later failures are not reported.", name
                        )
