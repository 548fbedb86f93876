"""A Hub on this machine that refuses commits like the real one. Needs the extra `local`.

    from mat_vis_hub.local_hub import LocalHub

    with LocalHub(limit=8, window=6) as hub:
        api = HfApi(endpoint=hub.url)

The import of this package is cheap: Starlette and uvicorn are imported with the first use of `LocalHub`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mat_vis_hub.local_hub.hub import LocalHub as LocalHub

__all__ = ["LocalHub"]

MISSING_EXTRA = 'The local Hub needs Starlette, uvicorn and pathspec: pip install "mat-vis-hub[local]"'


def __getattr__(name: str) -> Any:
    if name != "LocalHub":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from mat_vis_hub.local_hub.hub import LocalHub
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("starlette", "uvicorn", "anyio", "pathspec"):
            raise
        raise ModuleNotFoundError(MISSING_EXTRA, name=error.name) from None
    return LocalHub
