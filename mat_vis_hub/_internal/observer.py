"""What the caller of `create_commit` learns about the commit's request, and decides before it is sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Observer:
    """
    Observes the commits that a thread sends.

    Args:
        before_resend (`Callable`, *optional*):
            Called before a commit is sent again, whatever the reason. What it raises ends the commit.
        splits (`bool`, *optional*, defaults to `False`):
            Whether a commit that was cut off is not sent again as a whole: the observer sends a part of it.
    """

    def __init__(self, before_resend: Callable[[], object] | None = None, *, splits: bool = False) -> None:
        self.before_resend = before_resend
        self.splits = splits
        self.seconds: float | None = None  # from sending the last request to its answer; `None` if none was sent


_current: ContextVar[Observer | None] = ContextVar("mat_vis_hub_observer", default=None)
current = _current.get
"""The observer of this thread's commits, if there is one."""


@contextmanager
def observed(observer: Observer) -> Iterator[Observer]:
    """Observe the commits that this thread sends inside the block."""
    token = _current.set(observer)
    try:
        yield observer
    finally:
        _current.reset(token)
