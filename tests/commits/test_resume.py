"""A batch that is killed at any moment and run again: nothing is lost, uploaded twice or committed twice."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
from collections import Counter
from typing import Any

import pytest
from huggingface_hub import constants

from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.testing import virtual_time

KILLS = int(os.environ.get("MAT_VIS_HUB_TEST_KILLS", "12"))  # for each of the two policies
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the program that is killed")


class Program:
    """A program that adds files to a batch, and that can be killed after any of its requests."""

    def __init__(self, hub: LocalHub, repo_id: str, files: dict[str, bytes], *, recover: bool) -> None:
        self._hub = hub
        self._repo_id = repo_id
        self._files = files
        self._recover = recover

    def run(self, kill_after: int) -> bool:
        """Run it, and kill it once the Hub has answered that many requests. Returns whether it came to its end."""
        before = len(self._hub.requests)
        end, child_end = os.pipe()  # can be read once the child has ended
        pid = os.fork()
        if pid == 0:
            self._child()
        os.close(child_end)
        try:
            while not select.select([end], [], [], 0.002)[0]:
                if len(self._hub.requests) - before >= kill_after:
                    os.kill(pid, signal.SIGKILL)
                    break
        finally:
            os.close(end)
        _, status = os.waitpid(pid, 0)
        assert status in (0, signal.SIGKILL)
        return status == 0

    def _child(self) -> None:
        try:
            with virtual_time():  # the Hub's clock is the real one, in the parent
                api = ThrottledHfApi(self._hub.url, "hf_x", retry=RetryPolicy(recover=self._recover), hooks=[])
                with api.batch(self._repo_id, commit_message="Bake", max_files=8, max_bytes=2000) as batch:
                    for path, content in self._files.items():
                        batch.add(path, content)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)


def some_files(rng: random.Random) -> dict[str, bytes]:
    small: dict[str, bytes] = {f"{number}.txt": rng.randbytes(20).hex().encode() for number in range(30)}
    return {**small, **{f"{number}.bin": rng.randbytes(1500) for number in range(4)}}


@pytest.mark.parametrize("recover", [False, True])
def test_killed_at_any_moment_and_run_again(recover, monkeypatch):
    rng = random.Random(f"resume {recover}")
    kills = runs = 0
    with LocalHub(limit=None, api_limit=None, creation_limit=None) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)  # huggingface_hub 0.x compares addresses with it
        while kills < KILLS:
            runs += 1
            repo_id = f"you/textures-{runs}"
            api = ThrottledHfApi(hub.url, "hf_x", hooks=[])
            api.create_repo(repo_id)
            files = some_files(rng)
            program = Program(hub, repo_id, files, recover=recover)
            while not program.run(rng.randrange(1, 30)):
                kills += 1
            committed: Counter[Any] = Counter()
            for commit in hub.commits:
                committed.update(commit.paths if commit.repo == repo_id else ())
            assert committed == dict.fromkeys(files, 1)
            uploads = Counter(r.path for r in hub.requests if r.method == "PUT" and r.status == 200)
            assert set(uploads.values()) <= {1}


def test_what_is_there_is_asked_once_per_256_files(monkeypatch):
    with LocalHub(limit=None) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        api = ThrottledHfApi(hub.url, "hf_x", hooks=[])
        api.create_repo("you/textures")
        for _ in range(2):
            before = len(hub.requests)
            with virtual_time(), api.batch("you/textures", commit_message="Bake") as batch:
                for number in range(600):
                    batch.add(f"{number}.txt", b"x")
        assert batch.commits == []
        assert [request.endpoint for request in hub.requests[before:]] == ["preupload"] * 3
