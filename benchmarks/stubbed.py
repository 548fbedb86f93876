"""What the package adds to one commit: a pyperf program, which starts its worker processes by itself.

    python -m benchmarks.stubbed -o times.json --inherit-environ=BUDGETS

huggingface_hub's own work is replaced: `HfApi.create_commit` sends two finished requests, as the real one sends the
preupload and the commit, and its HTTP client returns finished responses. What remains beside that is the package's.

`BUDGETS` is a JSON object of budget URLs by name. With a budget, only the last commits of each window are timed, so
that there is always a nearly full window of the usual 128 to count.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, set_client_factory
from huggingface_hub.utils import get_session

WINDOW = 128  # commits
TIMED = 4  # commits of each window
MANY = 50  # operations
HUB = "https://huggingface.co/api/models/you/textures"


class StubbedClient(httpx2.Client):
    """Answers every request at once."""

    response = httpx2.Response(200, json={"success": True})

    def send(self, request: httpx2.Request, *, stream: bool = False, **_: Any) -> httpx2.Response:
        if not stream:
            self.response.read()
        return self.response


def stub() -> None:
    """Leave of `HfApi.create_commit` its two requests, and the calls of methods that `ThrottledHfApi` overrides."""
    client = StubbedClient()
    headers = {"authorization": "Bearer hf_x", "user-agent": "benchmarks", "content-type": "application/x-ndjson"}
    preupload = client.build_request("POST", f"{HUB}/preupload/main", headers=headers, content=b"{}")
    commit = client.build_request("POST", f"{HUB}/commit/main", headers=headers, content=b"{}")
    set_client_factory(lambda: client)

    def preupload_lfs_files(api: Any, repo_id: str, additions: Iterable[Any], **_: Any) -> None:
        assert api.headers is None
        get_session().send(preupload)

    def create_commit(api: Any, repo_id: str, operations: Iterable[Any], **_: Any) -> None:
        api.preupload_lfs_files(repo_id=repo_id, additions=operations)
        assert api.headers is None
        get_session().send(commit)

    hf_api: Any = HfApi
    hf_api.preupload_lfs_files = preupload_lfs_files
    hf_api.create_commit = create_commit


def windows(api: HfApi, *, before: int = 1, operations: int = 1) -> Callable[[int], float]:
    """Commits to one repository after another, to each `before` + `TIMED`. Returns the time of the latter."""
    files = [CommitOperationAdd(f"brick/{number}.png", b"texture") for number in range(operations)]

    def timed(loops: int) -> float:
        total = 0.0
        for _ in range(loops):
            repo_id = f"you/{uuid.uuid4().hex}"
            for _ in range(before):
                api.create_commit(repo_id, files, commit_message="Add brick")
            began = time.perf_counter()
            for _ in range(TIMED):
                api.create_commit(repo_id, files, commit_message="Add brick")
            total += time.perf_counter() - began
        return total

    return timed


def main() -> None:
    import pyperf

    from mat_vis_hub import ThrottledHfApi

    stub()
    runner = pyperf.Runner(program_args=("-m", "benchmarks.stubbed"))
    for operations in (1, MANY):
        for kind in (HfApi, ThrottledHfApi):
            name = f"{kind.__name__}, {operations}"
            runner.bench_time_func(name, windows(kind(), operations=operations), inner_loops=TIMED)
    for name, url in json.loads(os.environ.get("BUDGETS", "{}")).items():
        ours = ThrottledHfApi(budget=url)
        runner.bench_time_func(name, windows(ours, before=WINDOW - TIMED), inner_loops=TIMED)


if __name__ == "__main__":
    main()
