"""What the Hub has seen."""

import dataclasses

import pytest
from huggingface_hub import CommitOperationAdd as Add
from huggingface_hub import CommitOperationDelete as Delete
from huggingface_hub.utils import HfHubHTTPError

from tests.local_hub.conftest import CLOCK


@pytest.mark.local_hub(clock=CLOCK.now)
def test_a_commit_is_recorded_with_its_repository_message_paths_and_time(local_hub, api, repo, commit):
    api.create_branch(branch="v1", **repo)
    made = commit(Add("b/2", b"x"), Add("a", b"x"), message="two files", revision="v1")
    commit(Delete("a"), revision="v1")
    first, second = local_hub.commits
    assert dataclasses.asdict(first) == {
        "time": CLOCK.now(),
        "repo_type": "dataset",
        "repo": "you/scratch",
        "revision": "v1",
        "oid": made.oid,
        "message": "two files",
        "paths": ("a", "b/2"),
    }
    assert second.paths == ("a",)


@pytest.mark.local_hub(limit=0)
def test_a_refusal_names_the_limit(local_hub, commit):
    with pytest.raises(HfHubHTTPError):
        commit(Add("a", b"x"))
    (refusal,) = local_hub.refusals
    assert (refusal.kind, refusal.endpoint) == ("commit", "commit")
    assert (refusal.repo_type, refusal.repo) == ("dataset", "you/scratch")


def test_a_request_is_recorded_with_its_endpoint(local_hub, ask):
    ask("GET", "/api/whoami-v2?x=1")
    ask("POST", "/api/validate-yaml", {"content": "12345"})
    ask("GET", "/nowhere")
    first, second, third = local_hub.requests
    assert (first.method, first.path, first.endpoint, first.status) == ("GET", "/api/whoami-v2", "whoami", 200)
    assert (second.endpoint, second.bytes_received) == ("validate-yaml", len('{"content": "12345"}'))
    assert (third.endpoint, third.status) == ("unknown", 404)
    assert local_hub.bytes_received == second.bytes_received


@pytest.mark.local_hub(api_limit=1)
def test_the_body_of_a_refused_request_counts_as_received(local_hub, ask):
    ask("GET", "/api/models")
    assert ask("POST", "/api/validate-yaml", bytes(100_000)).status == 429
    assert local_hub.bytes_received == 100_000


@pytest.mark.local_hub(token="hf_secret")
def test_records_hold_no_token(local_hub, ask):
    for token in ("hf_secret", "hf_wrong"):
        ask("GET", "/api/whoami-v2", token=token)
    assert "hf_" not in repr([local_hub.requests, local_hub.refusals, local_hub.commits, vars(local_hub)])


def test_lists_are_snapshots_and_stay_readable_after_stop(local_hub, ask):
    before = local_hub.requests
    ask("GET", "/api/whoami-v2")
    assert before == []
    local_hub.stop()
    assert len(local_hub.requests) == 1
