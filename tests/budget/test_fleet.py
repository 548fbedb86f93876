"""A fleet commits as fast as its budget lets it, in real time, to Hubs on this machine: processes, and threads.

Both kinds of window at once, each with a fleet of its own: most of the time they wait.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from huggingface_hub import HfApi

from mat_vis_hub.local_hub import LocalHub

LIMIT, WINDOW = 8, 2.0
COMMITS = 32
OPTIMUM = (COMMITS // LIMIT - 1) * WINDOW
REPO = "you/textures"

WRITERS = f"""
import json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from huggingface_hub import CommitOperationAdd
from mat_vis_hub import ThrottledHfApi

budget, processes, threads, count = sys.argv[1], *map(int, sys.argv[2:])
number = next((number for number in range(1, processes) if os.fork() == 0), 0)
told = []
api = ThrottledHfApi(token="hf_local", budget=budget, source=f"w{{number}}", hooks=[told.append])

def say(line):
    os.write(1, line.encode() + b"\\n")  # whole, between the lines of the others

def write(thread):
    for commit in range(count // threads):
        operations = [CommitOperationAdd(f"{{number}}/{{thread}}/{{commit}}.txt", b"")]
        api.create_commit("{REPO}", operations, commit_message="Add a file")

with ThreadPoolExecutor(threads) as pool:
    list(pool.map(lambda _: api.list_repo_refs("{REPO}"), range(threads)))  # connect
    say("ready")
    os.read(0, 1)
    list(pool.map(write, range(threads)))
say(json.dumps({{"ended": time.time(), "paced": sum(event.reason == "budget" for event in told)}}))
"""


def race(model: str, budget: str, processes: int, threads: int) -> tuple[int, int, float]:
    """What came of it: commits, refusals, and seconds from when all were ready."""
    with LocalHub(limit=LIMIT, window=WINDOW, model=model, api_limit=None) as hub:
        HfApi(endpoint=hub.url, token="hf_local").create_repo(REPO)
        before = len(hub.commits)
        command = [sys.executable, "-c", WRITERS, f"{budget}?limit={LIMIT}&window={WINDOW}"]
        numbers = [str(number) for number in (processes, threads, COMMITS // processes)]
        writers = subprocess.Popen(
            [*command, *numbers],
            env={**os.environ, "HF_ENDPOINT": hub.url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert [writers.stdout.readline() for _ in range(processes)] == ["ready\n"] * processes
            began = time.time()
            writers.stdin.write("!" * processes)
            writers.stdin.flush()
            reports = [json.loads(writers.stdout.readline()) for _ in range(processes)]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(writers.pid, signal.SIGKILL)
            writers.communicate()
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
