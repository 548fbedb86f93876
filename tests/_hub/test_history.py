"""The history of a branch: newest first, read lazily, with ages by the server's clock."""

from __future__ import annotations

import itertools
import json

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub._hub.history import commits, heads
from mat_vis_hub._internal import clock
from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.testing import virtual_time

REPO = "you/textures"


@pytest.fixture
def time():
    with virtual_time() as time:
        yield time


@pytest.fixture
def hub(local_hub, time):
    HfApi(endpoint=local_hub.url, token="hf_x").create_repo(REPO)
    return local_hub


def commit(hub, title: str, **kwargs) -> None:
    api = HfApi(endpoint=hub.url, token="hf_x")
    api.create_commit(REPO, [CommitOperationAdd(f"{title}.txt", b"")], commit_message=title, **kwargs)


def history(hub, **kwargs):
    return commits(HfApi(endpoint=hub.url, token="hf_x"), REPO, **kwargs)


def pages(hub) -> int:
    return sum(request.endpoint == "history" for request in hub.requests)


def test_the_newest_commit_comes_first(hub, time):
    time.advance(60)
    commit(hub, "Add brick", commit_description="Baked at 1k.")
    newest, first = history(hub)
    assert (newest.title, newest.message, newest.id) == ("Add brick", "Baked at 1k.", hub.commits[-1].oid)
    assert newest.date == pytest.approx(clock.wall(), abs=0.01)
    assert newest.date - first.date == pytest.approx(61, abs=0.1)  # and the commit takes a second


@pytest.mark.local_hub(limit=None, commit_time=0)
def test_a_page_is_requested_when_it_is_needed(hub):
    for number in range(120):
        commit(hub, str(number))
    lazy = history(hub)
    assert pages(hub) == 0
    for count, needed in [(1, 1), (49, 1), (1, 2), (69, 3)]:
        assert len(list(itertools.islice(lazy, count))) == count
        assert pages(hub) == needed
    assert next(lazy).title == "initial commit"
    assert next(lazy, None) is None
    assert pages(hub) == 3


def test_a_branch_by_name(hub):
    api = HfApi(endpoint=hub.url, token="hf_x")
    api.create_branch(REPO, branch="v2026.04/rc")
    commit(hub, "Only there", revision="v2026.04/rc")
    assert next(history(hub, revision="v2026.04/rc")).title == "Only there"
    assert [commit.title for commit in history(hub)] == ["initial commit"]


def test_an_explicit_token_replaces_the_one_of_the_api():
    with LocalHub(token="hf_right") as hub:
        HfApi(endpoint=hub.url, token="hf_right").create_repo(REPO)
        api = HfApi(endpoint=hub.url, token="hf_wrong")
        assert len(list(commits(api, REPO, token="hf_right"))) == 1
        with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
            list(commits(api, REPO))


def test_a_missing_branch_is_an_error(hub):
    with pytest.raises(HfHubHTTPError) as caught:
        list(history(hub, revision="nowhere"))
    assert caught.value.response.status_code == 404


class TestHeads:
    @pytest.mark.local_hub(pull_request_limit=None, commit_time=0)
    def test_of_branches_and_pull_requests_come_in_one_request_the_likeliest_first(self, hub):
        api = HfApi(endpoint=hub.url, token="hf_x")
        for name in ("v1", "v2", "v3"):
            api.create_branch(REPO, branch=name)
        for number in range(12):
            commit(hub, str(number), create_pr=True)
        before = len(hub.requests)
        found = heads(api, REPO)
        assert len(hub.requests) == before + 1
        assert list(found)[:8] == ["main", "v3", "refs/pr/12", "v2", "refs/pr/11", "v1", "refs/pr/10", "refs/pr/9"]
        assert found["main"] == found["v1"] != found["refs/pr/12"]

    def test_of_a_repository_yet_to_be_made_are_none(self, local_hub):
        assert heads(HfApi(endpoint=local_hub.url, token="hf_x"), REPO) == {}

    def test_are_those_that_huggingface_hub_lists(self, hub):
        commit(hub, "1", create_pr=True)
        api = HfApi(endpoint=hub.url, token="hf_x")
        refs = api.list_repo_refs(REPO, include_pull_requests=True)
        listed = {ref.name: ref.target_commit for ref in refs.branches}
        listed |= {ref.ref: ref.target_commit for ref in refs.pull_requests}
        assert heads(api, REPO) == listed

    def test_that_cannot_be_listed_are_an_error(self, hub):
        hub.answer(500, on="refs")
        with pytest.raises(HfHubHTTPError):
            heads(HfApi(endpoint=hub.url, token="hf_x"), REPO)


class TestAges:
    def test_are_at_most_two_seconds_too_low_and_never_too_high(self, hub, time):
        commit(hub, "Add")
        landed = time.now()
        for waited in (0, 0.4, 10, 3600):
            time.advance(waited)
            age = next(history(hub)).age
            assert age >= 0
            assert time.now() - landed - 2 <= age <= time.now() - landed

    @pytest.mark.parametrize("off", [-3600, -30, 30, 3600])
    def test_do_not_depend_on_the_clock_of_this_machine(self, time, off):
        with LocalHub(clock=lambda: clock.wall() + off) as hub:
            HfApi(endpoint=hub.url, token="hf_x").create_repo(REPO)
            time.advance(100)
            (first,) = history(hub)
        assert 98 <= first.age <= 100

    def test_without_a_date_are_counted_from_the_newest_commit(self, hub, time):
        """As behind a proxy that removes or breaks the header."""
        body = [{"id": "b", "date": "2026-11-21T10:00:00.000Z"}, {"id": "a", "date": "2026-11-21T09:59:00.000Z"}]
        hub.answer(
            200, headers={"Date": "today", "Content-Type": "application/json"}, body=json.dumps(body), on="history"
        )
        assert [commit.age for commit in history(hub)] == [0, 59]

    def test_are_zero_for_commits_dated_in_the_future(self, hub, time):
        body = [{"id": "a", "date": "2999-01-01T00:00:00.000Z"}]
        hub.answer(200, headers={"Content-Type": "application/json"}, body=json.dumps(body), on="history")
        assert [commit.age for commit in history(hub)] == [0]
