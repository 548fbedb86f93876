"""What `create_commit` itself takes, `HfApi`'s own stubbed: a pyperf program, which starts its workers by itself.

    python -m benchmarks.stubbed -o times.json --inherit-environ=BUDGETS

`BUDGETS` is a JSON object of budgets' URLs by name. pyperf asks for the time of so many windows; timed are the last
commits of each, so that a budget always has a nearly full window of the usual 128 to count.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from typing import Any

import pyperf
from huggingface_hub import CommitOperationAdd, HfApi

from mat_vis_hub import ThrottledHfApi

WINDOW, TIMED = 128, 4  # commits
FREE = "HfApi", "no budget"  # what keeps no log, and so needs no full one


def windows(api: HfApi, behind: int) -> Callable[[int], float]:
    """The time of the last commits of so many windows, each a repository's own."""
    operations = [CommitOperationAdd("brick/color.png", b"texture")]

    def timed(loops: int) -> float:
        total = 0.0
        for _ in range(loops):
            repo_id = f"you/{uuid.uuid4().hex}"
            for _ in range(behind):
                api.create_commit(repo_id, operations, commit_message="Add brick")
            began = time.perf_counter()
            for _ in range(TIMED):
                api.create_commit(repo_id, operations, commit_message="Add brick")
            total += time.perf_counter() - began
        return total

    return timed


def main() -> None:
    landed: Any = object()
    HfApi.create_commit = lambda *args, **kwargs: landed  # what remains is our own part
    budgets = json.loads(os.environ.get("BUDGETS", "{}"))
    runner = pyperf.Runner(program_args=("-m", "benchmarks.stubbed"))
    for name, api in zip(FREE, (HfApi(), ThrottledHfApi()), strict=True):
        runner.bench_time_func(name, windows(api, 1), inner_loops=TIMED)
    for name, url in budgets.items():
        runner.bench_time_func(name, windows(ThrottledHfApi(budget=url), WINDOW - TIMED), inner_loops=TIMED)


if __name__ == "__main__":
    main()
