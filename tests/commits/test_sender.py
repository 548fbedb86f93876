"""Commits that fit the Hub's minute: few, each short of 60 seconds, and halved if one is cut off."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants

from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub.commits import sender
from mat_vis_hub.commits.sender import Sender
from mat_vis_hub.local_hub import LocalHub

REPO = "you/textures"


@pytest.fixture
def hub(request, time, monkeypatch):
    with LocalHub(api_limit=None, **getattr(request, "param", {})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)  # huggingface_hub 0.x compares addresses with it
        yield hub


def uploaded(api: HfApi, count: int, content: str = "x") -> list[CommitOperationAdd]:
    """Operations that need only to be committed."""
    operations = [
        CommitOperationAdd(f"{number % 20}/{number}.txt", f"{content}{number}".encode()) for number in range(count)
    ]
    api.preupload_lfs_files(REPO, operations)
    return operations


def send_all(api: HfApi, operations: list[Any]) -> None:
    pieces = Sender(api, {"repo_id": REPO, "repo_type": None, "revision": None, "token": None})
    while operations:
        operations = operations[pieces.send(operations, commit_message="m").done :]


def timeouts(hub: LocalHub) -> int:
    return sum(request.status == 504 for request in hub.requests)


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize(
    "hub", [{"operation_time": 0.3, "late": late, "limit": None} for late in ("never", "lands", 0.5)], indirect=True
)
def test_3000_files_that_take_a_third_of_a_second_each(hub, recover):
    api = ThrottledHfApi(hub.url, "hf_x", retry=RetryPolicy(recover=recover), hooks=[])
    api.create_repo(REPO)
    send_all(api, uploaded(api, 3000))
    assert len(api.list_repo_files(REPO)) == 3001
    assert len(hub.commits) <= 30
    assert timeouts(hub) <= 8
    paths = [path for commit in hub.commits for path in commit.paths]
    assert sorted(paths) == sorted(set(paths))
    assert len(paths) == 3000
    assert all(commit.paths for commit in hub.commits)  # else it would be one too many


def test_a_commit_that_lands_just_before_its_first_half_is_sent_is_the_only_one(hub, time, monkeypatch):
    """The look does not see it yet. The half names the parent that was seen, so the Hub refuses it."""
    api = ThrottledHfApi(hub.url, "hf_x", hooks=[])
    api.create_repo(REPO)
    operations = uploaded(api, 8)
    hub.answer(504, on="commit", lands_in=10, holds=False)
    look = sender._Doubt.look

    def look_and_wait(doubt: Any) -> None:
        look(doubt)
        time.advance(10)

    monkeypatch.setattr(sender._Doubt, "look", look_and_wait)
    sent = Sender(api, {"repo_id": REPO, "repo_type": None, "revision": None, "token": None}).send(
        operations, commit_message="m"
    )
    assert (sent.done, sent.changed) == (8, True)
    assert [len(commit.paths) for commit in hub.commits] == [8]


@pytest.mark.parametrize("hub", [{"limit": None}], indirect=True)
def test_many_files_take_few_more_commits_than_they_have_to(hub):
    api = ThrottledHfApi(hub.url, "hf_x", hooks=[])
    api.create_repo(REPO)
    count = 12_000
    send_all(api, uploaded(api, count))
    assert sum(len(commit.paths) for commit in hub.commits) == count
    assert timeouts(hub) == 0
    assert len(hub.commits) <= 1.2 * count / ((40 - 1) / 0.05)
