"""Writers that commit to one repository at once, on a Hub that carries out one commit at a time: nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from mat_vis_hub import ThrottledHfApi

REPO = "you/textures"
COMMITS = 32
# In real time, a commit takes long enough for the others to meet it.
SLOW = pytest.mark.local_hub(commit_time=0.05, operation_time=0, speed=1, limit=None, api_limit=None)

# A process reports that it is ready, commits in a loop when the test says so, and reports its events.
WRITER = f"""
import sys
from huggingface_hub import CommitOperationAdd
from mat_vis_hub import ThrottledHfApi

endpoint, number, commits, budget = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
events = []
api = ThrottledHfApi(endpoint=endpoint, token="hf_x", budget=budget or None, hooks=[events.append])
print(flush=True)
sys.stdin.readline()
for commit in range(commits):
    path = f"{{number}}/{{commit}}.txt"
    api.create_commit({REPO!r}, [CommitOperationAdd(path, path.encode())], commit_message=path)
print([event.line for event in events], flush=True)
"""


@pytest.fixture
def hub(local_hub):
    HfApi(endpoint=local_hub.url, token="hf_x").create_repo(REPO)
    return local_hub


def assert_each_landed_once(hub, writers: int) -> None:
    expected = sorted(f"{number}/{commit}.txt" for number in range(writers) for commit in range(COMMITS // writers))
    assert sorted(commit.message for commit in hub.commits) == expected


@SLOW
@pytest.mark.parametrize("budget", [None, "memory://?limit=1000"])
def test_sixteen_threads_are_never_refused(hub, events, budget):
    api = ThrottledHfApi(endpoint=hub.url, token="hf_x", budget=budget, hooks=[events.append])

    def write(number: int) -> None:
        for commit in range(COMMITS // 16):
            path = f"{number}/{commit}.txt"
            api.create_commit(REPO, [CommitOperationAdd(path, path.encode())], commit_message=path)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    assert_each_landed_once(hub, 16)
    assert len(hub.refusals) == 0


@SLOW
@pytest.mark.parametrize("kept_in", [None, "sqlite", "redis", "postgres"])
def test_four_processes(hub, kept_in, tmp_path, request):
    """With a budget that they share they hardly meet; without one, each commit is refused a few times at most."""
    fixtures = {"redis": "redis_url", "postgres": "empty_postgres_url"}
    url = {None: "", "sqlite": f"sqlite:///{tmp_path}/budget.db"}.get(kept_in, "")
    if kept_in in fixtures:
        url = request.getfixturevalue(fixtures[kept_in])
    arguments = [str(COMMITS // 4), f"{url}?limit=1000&strict=1" if url else ""]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, hub.url, str(number), *arguments], **pipes)
        for number in range(4)
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == "\n"
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        reports = [json.loads(writer.stdout.readline().replace("'", '"')) for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert_each_landed_once(hub, 4)
    assert len(hub.refusals) <= (4 if kept_in else 3 * COMMITS)
    assert sum("reason=409" in line for lines in reports for line in lines) == len(hub.refusals)
