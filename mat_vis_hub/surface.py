"""Make huggingface_hub hand a 429 over at once, where it would sleep on it in silence.

From 1.0 on, requests on the way to a commit (preupload, LFS batch) go through `http_backoff`, which sleeps on a 429 by
itself, up to five times: untold, not interruptible by our clock, and unknown to the other writers. Its HTTP client
calls hooks with each response, so for the length of one of our calls a hook raises the refusal instead. Where the
client has no such hooks (`requests`), these requests raise by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from huggingface_hub.utils import get_session, hf_raise_for_status

_active: ContextVar[bool] = ContextVar("mat_vis_hub_surface_refusals", default=False)


def surfacing() -> bool:
    """Whether this thread is within [`refusals_surface`], that is, on its way to a commit of ours."""
    return _active.get()


@contextmanager
def refusals_surface() -> Iterator[None]:
    """Within this context, in this thread, a 429 raises `HfHubHTTPError` as soon as it arrives."""
    _install(get_session())
    token = _active.set(True)
    try:
        yield
    finally:
        _active.reset(token)


def _install(client: Any) -> None:
    hooks = getattr(client, "event_hooks", None)
    if isinstance(hooks, dict) and _raise_refusal not in hooks.get("response", ()):
        client.event_hooks = {**hooks, "response": [*hooks.get("response", ()), _raise_refusal]}


def _raise_refusal(response: Any) -> None:
    if _active.get() and response.status_code == 429:
        response.read()  # hooks are called before the body has been
        hf_raise_for_status(response)
