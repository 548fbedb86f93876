"""The HTTP client of the installed huggingface_hub, and how a user replaces it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import huggingface_hub
from huggingface_hub.utils import get_session

BaseClient: Any = next(
    cls for cls in reversed(type(get_session()).__mro__) if hasattr(cls, "send") and hasattr(cls, "get")
)


@contextmanager
def factory_set_to(factory: Callable[[], Any]) -> Iterator[None]:
    """huggingface_hub makes its clients with `factory` within this context."""
    if hasattr(huggingface_hub, "set_client_factory"):
        from huggingface_hub.utils._http import default_client_factory

        set_factory, default = huggingface_hub.set_client_factory, default_client_factory
    else:
        set_factory = huggingface_hub.configure_http_backend
        from huggingface_hub.utils._http import _default_backend_factory as default
    set_factory(factory)
    try:
        yield
    finally:
        set_factory(default)
