"""A Hub on this machine that refuses like the real one (extra `local`).

    from mat_vis_hub.local_hub import LocalHub

    with LocalHub(limit=8, window=6) as hub:
        api = HfApi(endpoint=hub.url)

Importing this package costs nothing; Starlette and uvicorn load with the first use of `LocalHub`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mat_vis_hub.local_hub.server import LocalHub as LocalHub

__all__ = ["LocalHub"]

MISSING_EXTRA = 'The local Hub needs Starlette and uvicorn: pip install "mat-vis-hub[local]"'


def __getattr__(name: str) -> Any:
    if name != "LocalHub":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from mat_vis_hub.local_hub.server import LocalHub
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("starlette", "uvicorn", "anyio", "lz4"):
            raise
        raise ModuleNotFoundError(MISSING_EXTRA, name=error.name) from None
    return LocalHub
