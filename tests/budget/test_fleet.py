"""A fleet commits as fast as its budget lets it, in real time, to Hubs on this machine: processes, and threads.

Both kinds of window at once, each with a fleet of its own: most of the time they wait.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import HfApi

from mat_vis_hub.local_hub import LocalHub

LIMIT, WINDOW = 8, 2.0
COMMITS = 32
OPTIMUM = (COMMITS // LIMIT - 1) * WINDOW
REPO = "you/textures"

WRITER = f"""
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from huggingface_hub import CommitOperationAdd
from mat_vis_hub import ThrottledHfApi

budget, name, threads, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
told = []
api = ThrottledHfApi(token="hf_local", budget=budget, source=name, hooks=[told.append])

def write(thread):
    for number in range(count // threads):
        operations = [CommitOperationAdd(f"{{name}}/{{thread}}/{{number}}.txt", b"")]
        api.create_commit("{REPO}", operations, commit_message="Add a file")

with ThreadPoolExecutor(threads) as pool:
    list(pool.map(lambda _: api.list_repo_refs("{REPO}"), range(threads)))  # connect
    print("ready", flush=True)
    input()
    list(pool.map(write, range(threads)))
paced = sum(event.reason == "budget" for event in told)
print(json.dumps({{"ended": time.time(), "paced": paced}}), flush=True)
"""


def race(model: str, budget: str, processes: int, threads: int) -> tuple[int, int, float]:
    """What came of it: commits, refusals, and seconds from when all were ready."""
    with LocalHub(limit=LIMIT, window=WINDOW, model=model, api_limit=None) as hub:
        HfApi(endpoint=hub.url, token="hf_local").create_repo(REPO)
        before = len(hub.commits)
        command = [sys.executable, "-c", WRITER, f"{budget}?limit={LIMIT}&window={WINDOW}"]
        share = [str(threads), str(COMMITS // processes)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        env = {**os.environ, "HF_ENDPOINT": hub.url}
        writers = [subprocess.Popen([*command, f"w{n}", *share], env=env, **pipes) for n in range(processes)]
        try:
            assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * processes
            began = time.time()
            for writer in writers:
                writer.stdin.write("\n")
                writer.stdin.flush()
            reports = [json.loads(writer.communicate(timeout=60)[0]) for writer in writers]
        finally:
            for writer in writers:
                writer.kill()
                writer.communicate()
        assert all(report["paced"] for report in reports)
        return len(hub.commits) - before, len(hub.refusals), max(report["ended"] for report in reports) - began


@pytest.mark.parametrize(("place", "processes", "threads"), [("sqlite", 4, 1), ("redis", 4, 1), ("memory", 1, 16)])
def test_a_fleet_is_never_refused_and_is_within_a_tenth_of_the_optimum(place, processes, threads, tmp_path, request):
    url = {"sqlite": f"sqlite:///{tmp_path}/budget.db", "memory": "memory://"}.get(place)
    url = url or request.getfixturevalue("redis_server").url
    with ThreadPoolExecutor(2) as both:
        races = [both.submit(race, model, url, processes, threads) for model in ("fixed", "sliding")]
    for commits, refusals, makespan in (each.result() for each in races):
        assert (commits, refusals) == (COMMITS, 0)
        assert makespan <= 1.1 * OPTIMUM
