"""`create_repo` while the quota of new repositories is spent."""

from __future__ import annotations

import huggingface_hub
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import RetryPolicy, ThrottledHfApi, gave_up
from mat_vis_hub._hub import creation

SPENT = {"error": "You have exceeded the rate limit for repository creation (20 per day). You can retry in 1 day."}
SOON = {"error": "You have exceeded the rate limit for repository creation (20 per day). You can retry in 10 minutes."}


@pytest.fixture
def hub(local_hub, time):
    plain = HfApi(endpoint=local_hub.url, token="hf_x")
    for repo_type in ("model", "dataset"):
        plain.create_repo("you/textures", repo_type=repo_type)
        plain.create_repo("local/mine", repo_type=repo_type)
    return local_hub


@pytest.fixture
def api(hub, events) -> ThrottledHfApi:
    return ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(jitter=0), hooks=[events.append])


@pytest.mark.parametrize("body", [SPENT, SOON], ids=["a day", "minutes"])
@pytest.mark.parametrize("repo_type", [None, "model", "dataset"])
def test_an_existing_repository_is_returned_without_a_wait(api, hub, time, events, repo_type, body):
    expected = api.create_repo("you/textures", repo_type=repo_type, exist_ok=True)
    hub.answer(429, body=body, on="create-repo")
    url = api.create_repo("you/textures", repo_type=repo_type, exist_ok=True)
    assert (url, url.repo_id, url.repo_type) == (expected, "you/textures", repo_type or "model")
    assert (time.waits, events) == ([], [])


def test_an_id_without_a_namespace_is_the_users(api, hub, time):
    hub.answer(429, body=SPENT, on="create-repo")
    assert api.create_repo("mine", repo_type="dataset", exist_ok=True).repo_id == "local/mine"
    hub.answer(429, body=SPENT, on="create-repo")
    with pytest.raises(HfHubHTTPError):
        api.create_repo("textures", exist_ok=True)  # somebody else has one of this name


@pytest.mark.parametrize("call", ["module", "object", "subclass", "background"])
def test_the_functions_of_others_return_it_inside_everywhere(api, hub, time, call):
    class Theirs(HfApi):
        def create_repo(self, repo_id, *, exist_ok=True, **options):
            return super().create_repo(repo_id, exist_ok=exist_ok, **options)

    theirs = HfApi(endpoint=hub.url, token="hf_x")
    calls = {
        "module": lambda: huggingface_hub.create_repo("you/textures", exist_ok=True, token="hf_x"),
        "object": lambda: theirs.create_repo("you/textures", exist_ok=True),
        "subclass": lambda: Theirs(endpoint=hub.url, token="hf_x").create_repo("you/textures"),
        "background": lambda: theirs.run_as_future(theirs.create_repo, "you/textures", exist_ok=True).result(60),
    }
    hub.answer(429, body=SPENT, on="create-repo")
    with api.everywhere():
        assert calls[call]().repo_id == "you/textures"
    assert time.waits == []


@pytest.mark.parametrize(("repo_id", "exist_ok"), [("you/textures", False), ("you/new", True), ("you/new", False)])
def test_in_every_other_case_a_wait_of_a_day_is_raised_at_once(api, hub, time, repo_id, exist_ok):
    hub.answer(429, body=SPENT, on="create-repo")
    with pytest.raises(HfHubHTTPError, match="repository creation") as caught:
        api.create_repo(repo_id, exist_ok=exist_ok)
    record = gave_up(caught.value)
    assert record is not None
    assert record.retry_in_s >= 86_300
    assert time.waits == []
    for note in getattr(caught.value, "__notes__", ()):
        assert "commit" not in note


def test_a_shorter_wait_is_waited_for(api, hub, time, events):
    hub.answer(429, body=SOON, on="create-repo")
    assert api.create_repo("you/new", exist_ok=True).repo_id == "you/new"
    assert len(time.waits) == 1
    assert 570 <= time.waits[0] <= 630
    assert events[0].limiter == "creation"


def test_another_refusal_is_waited_out_and_the_repository_created(api, hub, time, events):
    hub.answer(429, headers={"RateLimit": '"api";r=0;t=12'}, on="create-repo")
    api.create_repo("you/new", exist_ok=True)
    assert time.waits == [12]
    assert events[0].limiter == "api"


def test_if_nobody_can_tell_whether_it_exists_the_refusal_is_raised(api, hub, time):
    hub.answer(429, body=SPENT, on="create-repo")
    hub.answer(500, on="info")
    with pytest.raises(HfHubHTTPError, match="repository creation"):
        api.create_repo("you/textures", exist_ok=True)


@pytest.mark.parametrize("action", ["repository creation (20", "discussions (10", "pull requests (10"])
def test_the_quota_of_another_action_holds_up_no_commit(api, hub, time, action):
    impatient = ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(max_retries=0), hooks=[])
    body = {"error": f"You have exceeded the rate limit for {action} per day). You can retry this action in 1 day."}
    operations = [huggingface_hub.CommitOperationAdd("a.txt", b"a")]
    refused = {
        "create-repo": lambda: impatient.create_repo("you/new"),
        "create-discussion": lambda: impatient.create_discussion("you/textures", "Title", token="hf_x"),
        "commit": lambda: impatient.create_commit("you/textures", operations, commit_message="Add", create_pr=True),
    }
    for endpoint, call in refused.items():
        hub.answer(429, body=body, on=endpoint)
        with pytest.raises(HfHubHTTPError):
            call()
    api.create_commit("you/textures", operations, commit_message="Add")
    assert time.waits == []


def test_outside_of_create_repo_nothing_accepts_an_existing_one():
    assert not creation.accepts_existing()
