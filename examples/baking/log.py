"""The log lines of bake and derive: `key=value`, one line per event, flushed, in the format of mat-vis's readers."""

from __future__ import annotations

import time

from baking.layout import Tier


class Log:
    """Print the lines of one run. `kind` is `bake` or `derive`."""

    def __init__(self, kind: str, tier: Tier) -> None:
        self._kind = kind
        self._tier = tier
        self._started = time.monotonic()

    def plan(self, *, materials: int, skipped: int, batches: int) -> None:
        self._print("plan", f"materials={materials} skipped_preflight={skipped} batches={batches}")

    def progress(self, *, committed: int, total: int, files: int) -> None:
        self._print("progress", f"committed={committed}/{total} files={files} elapsed={self._elapsed()}")

    def done(self, *, materials: int, commits: int) -> None:
        self._print("done", f"materials={materials} commits={commits} elapsed={self._elapsed()}")

    def _print(self, event: str, fields: str) -> None:
        print(f"{self._kind}_{event} source={self._tier.source} tier={self._tier.name} {fields}", flush=True)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes}m{seconds}s"
