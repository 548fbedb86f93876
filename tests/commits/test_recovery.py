"""Exactly one commit lands, however often its response is lost."""

from __future__ import annotations

import io
import platform
import random
import threading

import huggingface_hub
import pytest
from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import RecoveredEvent, RetryPolicy, ThrottledHfApi, ThrottleEvent

REPO = "you/textures"
WHERE = {"repo_id": REPO, "repo_type": "dataset"}
POLICY = RetryPolicy(jitter=0, recover=True)


@pytest.fixture
def hub(local_hub, time):
    HfApi(endpoint=local_hub.url, token="hf_x").create_repo(**WHERE)
    return local_hub


@pytest.fixture
def api(hub, emitted) -> ThrottledHfApi:
    return ThrottledHfApi(endpoint=hub.url, token="hf_x", source="ambientcg", retry=POLICY, hooks=[emitted.append])


def commit(api: HfApi, name: str = "a.txt", **kwargs) -> CommitInfo:
    arguments = {"operations": [CommitOperationAdd(name, name.encode())], "commit_message": "Add", **WHERE, **kwargs}
    return api.create_commit(**arguments)


def seen(hub, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in hub.requests)


class TestOneLostResponse:
    def test_a_commit_that_landed_is_found_and_emitted(self, api, hub, emitted):
        hub.drop(on="commit", applied=True)
        info = commit(api)
        (landed,) = hub.commits
        assert info.oid == landed.oid
        assert info.commit_url == f"{hub.url}/datasets/{REPO}/commit/{landed.oid}"
        assert info.repo_url.repo_id == REPO
        assert [event.line for event in emitted] == [f"bake_recovered source=ambientcg repo={REPO} oid={landed.oid}"]

    def test_a_commit_that_did_not_land_is_sent_again(self, api, hub, emitted):
        hub.drop(on="commit", applied=False)
        info = commit(api)
        assert [commit.oid for commit in hub.commits] == [info.oid]
        assert emitted == []

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_gateway_error_counts_as_a_lost_response(self, api, hub, emitted, status):
        hub.answer(status, on="commit")
        info = commit(api)
        assert [commit.oid for commit in hub.commits] == [info.oid]

    def test_a_commit_with_the_same_title_is_not_mistaken_for_ours(self, api, hub, emitted):
        commit(HfApi(endpoint=hub.url, token="hf_x"), "theirs.txt")
        hub.drop(on="commit", applied=False)
        info = commit(api, "ours.txt")
        assert hub.commits[-1].oid == info.oid
        assert hub.commits[-1].paths == ("ours.txt",)
        assert len(hub.commits) == 2

    def test_a_first_attempt_that_lands_late_is_the_only_commit(self, api, hub, emitted, monkeypatch):
        """It lands after the search has not found it, and before the second attempt."""
        hub.answer(504, on="commit")
        create_commit = HfApi.create_commit
        first: list[dict] = []

        def late(self, repo_id, operations, **kwargs):
            if first:
                other = HfApi(endpoint=hub.url, token="hf_x")
                create_commit(other, REPO, [CommitOperationAdd("a.txt", b"a.txt")], **first.pop())
            else:
                first.append(kwargs)
            return create_commit(self, repo_id, operations, **kwargs)

        monkeypatch.setattr(HfApi, "create_commit", late)
        info = commit(api)
        assert [commit.oid for commit in hub.commits] == [info.oid]
        assert isinstance(emitted[-1], RecoveredEvent)

    def test_a_stream_is_sent_again_from_its_beginning(self, api, hub):
        hub.drop(on="commit", applied=False)
        operation = CommitOperationAdd("s.txt", io.BytesIO(b"whole"))
        commit(api, operations=[operation])
        (info,) = api.get_paths_info(REPO, ["s.txt"], repo_type="dataset")
        assert info.size == 5

    def test_only_one_pull_request_is_opened(self, api, hub, emitted):
        hub.drop(on="commit", applied=True)
        info = commit(api, create_pr=True)
        assert info.pr_num == 1
        assert info.pr_revision == "refs/pr/1"
        hub.drop(on="commit", applied=False)
        assert commit(api, "b.txt", create_pr=True).pr_num == 2
        assert len(list(api.get_repo_discussions(REPO, repo_type="dataset"))) == 2

    def test_the_callers_parent_commit_is_kept(self, api, hub):
        head = commit(api, "first.txt").oid
        hub.drop(on="commit", applied=True)
        info = commit(api, "second.txt", parent_commit=head)
        assert hub.commits[-1].oid == info.oid
        hub.drop(on="commit", applied=False)
        with pytest.raises(HfHubHTTPError, match="The branch was updated since"):
            commit(api, "third.txt", parent_commit=head)
        assert len(hub.commits) == 2

    def test_in_a_future(self, api, hub):
        hub.drop(on="commit", applied=True)
        assert commit(api, run_as_future=True).result(timeout=60).oid == hub.commits[0].oid


class TestWithRefusals:
    def test_a_refusal_after_a_lost_response(self, api, hub, time, emitted):
        hub.drop(on="commit", applied=False)
        hub.answer(429, headers={"Retry-After": "55"}, on="commit")
        commit(api)
        assert time.waits == [55]
        assert len(hub.commits) == 1

    def test_a_refused_search_is_repeated_before_the_commit_is_sent(self, api, hub, time, emitted):
        hub.drop(on="commit", applied=True)
        hub.answer(429, headers={"Retry-After": "55"}, on="history")
        commit(api)
        assert len(hub.commits) == 1
        assert seen(hub, "commit") == 1
        assert [type(event) for event in emitted] == [ThrottleEvent, RecoveredEvent]


class TestGivingUp:
    def test_a_failed_search_is_repeated(self, api, hub, time):
        hub.drop(on="commit", applied=True)
        hub.drop(on="history", times=3)
        assert commit(api).oid == hub.commits[0].oid
        assert time.waits == pytest.approx([1, 2, 4])

    def test_a_search_that_keeps_failing_raises_the_error_of_the_lost_response(self, api, hub, time):
        hub.answer(503, on="commit")
        hub.drop(on="history", times=6)
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == 503
        assert len(time.waits) == 5

    def test_the_sixth_lost_response_is_raised(self, api, hub):
        hub.drop(on="commit", applied=False, times=6)
        with pytest.raises(Exception, match=r"(?i)disconnect|aborted|closed|reset"):
            commit(api)
        assert seen(hub, "commit") == 6
        assert hub.commits == []

    @pytest.mark.parametrize("status", [400, 403, 404, 412])
    def test_other_errors_are_raised_at_once(self, api, hub, status):
        hub.answer(status, on="commit")
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == status
        assert seen(hub, "history") == 0

    def test_an_error_before_the_commit_is_raised_at_once(self, api, hub):
        hub.answer(403, on="preupload")
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert seen(hub, "history") == 0


class TestCost:
    def test_without_a_loss_it_costs_one_line_in_the_description(self, api, hub):
        commit(api, commit_description="Why.")
        assert [request.endpoint for request in hub.requests].count("history") == 0
        (landed,) = [c for c in api.list_repo_commits(REPO, repo_type="dataset") if c.title == "Add"]
        assert landed.message.startswith("Why.\n\nMat-Vis-Hub-Commit: ")
        plain = sum(request.endpoint in ("preupload", "commit") for request in hub.requests)
        assert plain == 2

    def test_a_loss_costs_one_request(self, api, hub):
        hub.drop(on="commit", applied=True)
        commit(api)
        assert seen(hub, "history") == 1


class TestWithoutRecover:
    def test_a_lost_response_is_raised(self, hub):
        api = ThrottledHfApi(endpoint=hub.url, token="hf_x", hooks=[])
        hub.answer(503, on="commit")
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert seen(hub, "commit") == 1
        commit(api)
        assert not [c for c in api.list_repo_commits(REPO, repo_type="dataset") if "Mat-Vis-Hub" in c.message]


@pytest.mark.local_hub(limit=None, api_limit=None)
@pytest.mark.parametrize("writers", [1, 8])
def test_exactly_one_commit_each_after_random_faults(hub, time, writers):
    """Each commit meets a random sequence of faults. The sequence is the same in each run of an environment."""
    rounds, faults = 264 // writers, random.Random(f"{platform.python_version()} {huggingface_hub.__version__}")
    api = ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(max_retries=50, recover=True), hooks=[])
    infos: dict[str, CommitInfo] = {}
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            infos[name] = commit(api, name)
        except BaseException as error:
            failures.append(error)

    for number in range(rounds):
        for _ in range(faults.choice([0, 1, 1, 2, 3]) * (1 if writers == 1 else 2)):
            kind = faults.choice(["before", "after", "after", 503, 504, "search"])
            if kind == "search":
                hub.drop(on="history")
            elif kind in (503, 504):
                hub.answer(kind, on="commit")
            else:
                hub.drop(on="commit", applied=kind == "after")
        threads = [threading.Thread(target=work, args=(f"{number}-{writer}.txt",)) for writer in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
    assert failures == []
    assert len(infos) == rounds * writers
    landed = [commit for commit in hub.commits if commit.message == "Add"]
    assert {name: info.oid for name, info in infos.items()} == {commit.paths[0]: commit.oid for commit in landed}
    assert len(landed) == len(infos)
