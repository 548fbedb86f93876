"""One commit per repository at a time."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from huggingface_hub import CommitOperationAdd as Add

from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.local_hub.web import commit_lock
from tests.local_hub.conftest import ndjson

SCRATCH = "/api/datasets/you/scratch"
COMMIT = SCRATCH + "/commit/main"
IN_PROGRESS = {"error": "Another commit operation is in progress for this repository. Please try again later."}


@pytest.fixture
def under_way(ask, monkeypatch):
    """Start a request, and run the block while it is being carried out: `with under_way(path, body) as future`."""
    started, finish = threading.Event(), threading.Event()

    async def sleep(seconds):
        started.set()
        await asyncio.to_thread(finish.wait)

    @contextmanager
    def under_way(path=COMMIT, body=None):
        with ThreadPoolExecutor(1) as pool:
            with monkeypatch.context() as patch:
                patch.setattr(commit_lock, "asyncio", SimpleNamespace(sleep=sleep))
                future = pool.submit(ask, "POST", path, ndjson() if body is None else body)
                assert started.wait(60)
            try:
                yield future
            finally:
                finish.set()

    return under_way


@pytest.mark.local_hub(commit_duration=0.01)
def test_a_second_commit_meanwhile_gets_409(local_hub, repo, ask, under_way):
    with under_way() as first:
        second = ask("POST", COMMIT, ndjson())
    assert (first.result().status, second.status) == (200, 409)
    assert second.json == IN_PROGRESS
    assert len(local_hub.commits) == 1
    (refusal,) = local_hub.refusals
    assert (refusal.kind, refusal.endpoint, refusal.repo) == ("lock", "commit", "you/scratch")
    assert ask("POST", COMMIT, ndjson()).status == 200


@pytest.mark.local_hub(commit_duration=0.01)
@pytest.mark.parametrize("path", ["/super-squash/main", "/discussions/1/merge", "/commit/refs%2Fpr%2F1"])
def test_merges_squashes_and_commits_to_pull_requests_hold_the_repository_too(repo, commit, ask, under_way, path):
    commit(Add("a", b"x"), create_pr=True)
    with under_way(SCRATCH + path, ndjson() if "/commit/" in path else {}) as first:
        assert ask("POST", COMMIT, ndjson()).status == 409
        assert ask("POST", SCRATCH + "/super-squash/main", {}).status == 409
        assert ask("POST", SCRATCH + "/discussions/1/merge", {}).status == 409
    assert first.result().status == 200


@pytest.mark.local_hub(commit_duration=0.01)
def test_other_repositories_and_reads_are_not_held(api, repo, ask, under_way):
    api.create_repo("you/other", repo_type="dataset")
    with under_way() as first:
        assert ask("POST", COMMIT.replace("scratch", "other"), ndjson()).status == 200
        assert ask("GET", SCRATCH).status == 200
        assert ask("POST", SCRATCH + "/branch/b", {}).status == 200
    assert first.result().status == 200


@pytest.mark.local_hub(commit_duration=0.01, limit=1)
def test_the_commit_limit_comes_before_the_lock(local_hub, repo, ask, under_way):
    with under_way():
        local_hub.spend("you/scratch", repo_type="dataset")
        assert ask("POST", COMMIT, ndjson()).status == 429


@pytest.mark.local_hub(commit_duration=0.01)
def test_a_failed_commit_gives_the_repository_back(repo, ask):
    assert ask("POST", COMMIT, ndjson(parentCommit="0" * 40)).status == 412
    assert ask("POST", COMMIT, ndjson(("deletedFile", {"path": "missing"}))).status == 404
    assert ask("POST", COMMIT, ndjson()).status == 200


@pytest.mark.local_hub(commit_duration=0.01)
def test_a_repository_that_is_deleted_during_a_commit_is_not_found(api, repo, under_way):
    with under_way() as commit:
        api.delete_repo(**repo)
    assert commit.result().status == 404


@pytest.mark.local_hub(commit_duration=0.05)
def test_a_commit_takes_real_time(repo, ask):
    start = time.monotonic()
    assert ask("POST", COMMIT, ndjson()).status == 200
    assert time.monotonic() - start >= 0.05


@pytest.mark.parametrize("duration", [-1, float("nan"), "1"])
def test_a_duration_that_makes_no_sense_is_refused(duration):
    with pytest.raises(ValueError, match=r"commit_duration is .*; it is a number of seconds, 0 or more"):
        LocalHub(commit_duration=duration)
