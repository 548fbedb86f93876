"""A lost response is not a lost commit, and not two: exactly one each time, over hundreds of random accidents."""

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
from mat_vis_hub.commits.recovery import Recovery

REPO = "you/textures"
WHERE = {"repo_id": REPO, "repo_type": "dataset"}
POLICY = RetryPolicy(jitter=0, recover=True)


@pytest.fixture
def hub(local_hub, time):
    HfApi(endpoint=local_hub.url, token="hf_x").create_repo(**WHERE)
    return local_hub


@pytest.fixture
def api(hub, told) -> ThrottledHfApi:
    return ThrottledHfApi(endpoint=hub.url, token="hf_x", source="ambientcg", retry=POLICY, hooks=[told.append])


def commit(api: HfApi, name: str = "a.txt", **kwargs) -> CommitInfo:
    arguments = {"operations": [CommitOperationAdd(name, name.encode())], "commit_message": "Add", **WHERE, **kwargs}
    return api.create_commit(**arguments)


def seen(hub, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in hub.requests)


class TestOneLoss:
    def test_what_had_landed_is_found_and_reported(self, api, hub, told):
        hub.drop(on="commit", applied=True)
        info = commit(api)
        (landed,) = hub.commits
        assert info.oid == landed.oid
        assert info.commit_url == f"{hub.url}/datasets/{REPO}/commit/{landed.oid}"
        assert info.repo_url.repo_id == REPO
        assert [event.line for event in told] == [f"bake_recovered source=ambientcg repo={REPO} oid={landed.oid}"]

    def test_what_had_not_landed_is_sent_again(self, api, hub, told):
        hub.drop(on="commit", applied=False)
        info = commit(api)
        assert [commit.oid for commit in hub.commits] == [info.oid]
        assert told == []

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_gateway_s_word_is_not_taken_for_the_hub_s(self, api, hub, told, status):
        hub.answer(status, on="commit")
        info = commit(api)
        assert [commit.oid for commit in hub.commits] == [info.oid]

    def test_an_older_or_another_s_commit_of_the_same_title_is_not_taken_for_ours(self, api, hub, told):
        commit(HfApi(endpoint=hub.url, token="hf_x"), "theirs.txt")
        hub.drop(on="commit", applied=False)
        info = commit(api, "ours.txt")
        assert hub.commits[-1].oid == info.oid
        assert hub.commits[-1].paths == ("ours.txt",)
        assert len(hub.commits) == 2

    def test_a_first_attempt_that_lands_late_does_not_double(self, api, hub, told, monkeypatch):
        """The gateway gave up, we looked, found nothing, and only then the Hub carried it out."""
        hub.answer(504, on="commit")
        plain = HfApi(endpoint=hub.url, token="hf_x")
        look = Recovery._look

        def look_and_then_it_lands(self, error):
            found = look(self, error)
            monkeypatch.setattr(Recovery, "_look", look)
            commit(plain, commit_description=self._arguments["commit_description"])
            return found

        monkeypatch.setattr(Recovery, "_look", look_and_then_it_lands)
        info = commit(api)
        assert [commit.oid for commit in hub.commits] == [info.oid]
        assert isinstance(told[-1], RecoveredEvent)

    def test_a_stream_is_sent_whole_again(self, api, hub):
        hub.drop(on="commit", applied=False)
        operation = CommitOperationAdd("s.txt", io.BytesIO(b"whole"))
        commit(api, operations=[operation])
        (info,) = api.get_paths_info(REPO, ["s.txt"], repo_type="dataset")
        assert info.size == 5

    def test_no_second_pull_request_is_opened(self, api, hub, told):
        hub.drop(on="commit", applied=True)
        info = commit(api, create_pr=True)
        assert info.pr_num == 1
        assert info.pr_revision == "refs/pr/1"
        hub.drop(on="commit", applied=False)
        assert commit(api, "b.txt", create_pr=True).pr_num == 2
        assert len(list(api.get_repo_discussions(REPO, repo_type="dataset"))) == 2

    def test_the_caller_s_parent_commit_stays_the_caller_s(self, api, hub):
        head = commit(api, "first.txt").oid
        hub.drop(on="commit", applied=True)
        info = commit(api, "second.txt", parent_commit=head)
        assert hub.commits[-1].oid == info.oid
        hub.drop(on="commit", applied=False)
        with pytest.raises(HfHubHTTPError, match="A commit has happened since"):
            commit(api, "third.txt", parent_commit=head)
        assert len(hub.commits) == 2

    def test_inside_the_future(self, api, hub):
        hub.drop(on="commit", applied=True)
        assert commit(api, run_as_future=True).result(timeout=60).oid == hub.commits[0].oid


class TestTogetherWithRefusals:
    def test_a_refusal_after_a_loss_is_waited_out_and_doubles_nothing(self, api, hub, time, told):
        hub.drop(on="commit", applied=False)
        hub.answer(429, headers={"Retry-After": "55"}, on="commit")
        commit(api)
        assert time.waits == [55]
        assert len(hub.commits) == 1

    def test_a_refused_look_is_waited_out_and_looks_again_before_it_sends(self, api, hub, time, told):
        hub.drop(on="commit", applied=True)
        hub.answer(429, headers={"Retry-After": "55"}, on="history")
        commit(api)
        assert len(hub.commits) == 1
        assert seen(hub, "commit") == 1
        assert [type(event) for event in told] == [ThrottleEvent, RecoveredEvent]


class TestWhenItCannotBeKnown:
    def test_a_look_that_fails_is_tried_again(self, api, hub, time):
        hub.drop(on="commit", applied=True)
        hub.drop(on="history", times=3)
        assert commit(api).oid == hub.commits[0].oid
        assert time.waits == [1, 2, 4]

    def test_a_look_that_keeps_failing_raises_the_loss_itself(self, api, hub, time):
        hub.answer(503, on="commit")
        hub.drop(on="history", times=6)
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == 503
        assert len(time.waits) == 5

    def test_six_losses_raise_the_last(self, api, hub):
        hub.drop(on="commit", applied=False, times=6)
        with pytest.raises(Exception, match=r"(?i)disconnect|aborted|closed|reset"):
            commit(api)
        assert seen(hub, "commit") == 6
        assert hub.commits == []

    @pytest.mark.parametrize("status", [400, 403, 404, 412])
    def test_what_is_no_loss_leaves_at_once(self, api, hub, status):
        hub.answer(status, on="commit")
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == status
        assert seen(hub, "history") == 0

    def test_a_loss_before_the_commit_itself_leaves_at_once(self, api, hub):
        hub.answer(403, on="preupload")
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert seen(hub, "history") == 0


class TestWhatItCosts:
    def test_nothing_on_the_happy_path_but_a_line_in_the_description(self, api, hub):
        commit(api, commit_description="Why.")
        assert [request.endpoint for request in hub.requests].count("history") == 0
        (landed,) = [c for c in api.list_repo_commits(REPO, repo_type="dataset") if c.title == "Add"]
        assert landed.message.startswith("Why.\n\nMat-Vis-Hub-Commit: ")
        plain = sum(request.endpoint in ("preupload", "commit") for request in hub.requests)
        assert plain == 2

    def test_one_request_after_a_loss(self, api, hub):
        hub.drop(on="commit", applied=True)
        commit(api)
        assert seen(hub, "history") == 1


class TestOff:
    def test_by_default_a_lost_response_is_the_caller_s(self, hub):
        api = ThrottledHfApi(endpoint=hub.url, token="hf_x", hooks=[])
        hub.answer(503, on="commit")
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert seen(hub, "commit") == 1
        commit(api)
        assert not [c for c in api.list_repo_commits(REPO, repo_type="dataset") if "Mat-Vis-Hub" in c.message]


@pytest.mark.local_hub(limit=None, api_limit=None)
@pytest.mark.parametrize("writers", [1, 8])
def test_exactly_one_commit_each_over_random_accidents(hub, time, writers):
    """Each commit may meet any sequence of accidents, alone and eight at a time.

    Every environment has accidents of its own, the same in each run: well over a thousand commits in all.
    """
    rounds, accidents = 264 // writers, random.Random(f"{platform.python_version()} {huggingface_hub.__version__}")
    api = ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(max_retries=50, recover=True), hooks=[])
    infos: dict[str, CommitInfo] = {}
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            infos[name] = commit(api, name)
        except BaseException as error:
            failures.append(error)

    for number in range(rounds):
        for _ in range(accidents.choice([0, 1, 1, 2, 3]) * (1 if writers == 1 else 2)):
            kind = accidents.choice(["before", "after", "after", 503, 504, "look"])
            if kind == "look":
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
