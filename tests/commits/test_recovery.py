"""Exactly one commit lands, whatever becomes of its answer."""

from __future__ import annotations

import io
import platform
import random
import re
import threading
from contextlib import suppress

import huggingface_hub
import pytest
from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, get_session
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import GaveUpEvent, RecoveredEvent, RetryPolicy, ThrottledHfApi, ThrottleEvent, WaitCancelled, gave_up
from mat_vis_hub.commits import recovery

REPO = "you/textures"
WHERE = {"repo_id": REPO, "repo_type": "dataset"}
POLICY = RetryPolicy(jitter=0, recover=True)
GATEWAY_TIMEOUT = "<html><head><title>504 Gateway Time-out</title></head></html>"


@pytest.fixture
def hub(local_hub, time):
    HfApi(endpoint=local_hub.url, token="hf_x").create_repo(**WHERE)
    return local_hub


@pytest.fixture
def make(hub, emitted):
    def make(**options) -> ThrottledHfApi:
        options = {"retry": POLICY, "hooks": [emitted.append], **options}
        return ThrottledHfApi(endpoint=hub.url, token="hf_x", source="ambientcg", **options)

    return make


@pytest.fixture
def api(make) -> ThrottledHfApi:
    return make()


@pytest.fixture
def plain(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token="hf_x")


def commit(api: HfApi, name: str = "a.txt", **kwargs) -> CommitInfo:
    arguments = {"operations": [CommitOperationAdd(name, name.encode())], "commit_message": "Add", **WHERE, **kwargs}
    return api.create_commit(**arguments)


def seen(hub, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in hub.requests)


def landed(hub) -> list[str]:
    return [commit.oid for commit in hub.commits]


def pull_requests(api: HfApi) -> list[int]:
    return [discussion.num for discussion in api.get_repo_discussions(REPO, repo_type="dataset")]


def reasons(emitted) -> list[int]:
    return [event.reason for event in emitted if isinstance(event, ThrottleEvent)]


class TestALostAnswer:
    def test_a_commit_that_landed_is_found_at_once(self, api, hub, time, emitted):
        hub.drop(on="commit", applied=True)
        info = commit(api)
        (oid,) = landed(hub)
        assert info.oid == oid
        assert [event.line for event in emitted] == [f"bake_recovered source=ambientcg repo={REPO} oid={oid}"]
        assert time.waits == []

    def test_the_result_is_what_the_hub_would_have_said(self, api, hub):
        first = commit(api, "a.txt", commit_description="Why.")
        hub.drop(on="commit", applied=True)
        second = commit(api, "b.txt", commit_description="Why.")
        assert second.commit_url == first.commit_url.replace(first.oid, second.oid)
        assert second.repo_url == first.repo_url
        assert second.commit_message == "Add"
        assert second.commit_description == "Why."
        assert second.pr_url is None

    def test_a_commit_that_did_not_land_is_sent_again_after_a_pause(self, api, hub, time, emitted):
        hub.drop(on="commit", applied=False)
        info = commit(api)
        assert landed(hub) == [info.oid]
        (event,) = emitted
        assert 1 <= event.wait_s <= 2
        assert re.fullmatch(
            r"bake_throttle source=ambientcg retry=1/200 reason=000 wait_s=[\d.]+ elapsed=\d+m\d+s", event.line
        )

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_an_error_of_a_gateway(self, api, hub, emitted, status):
        hub.answer(status, on="commit")
        info = commit(api)
        assert landed(hub) == [info.oid]
        assert reasons(emitted) == [status]

    @pytest.mark.parametrize("applied", [True, False])
    def test_an_answer_that_is_cut_off(self, api, hub, applied):
        hub.truncate(on="commit", applied=applied)
        info = commit(api)
        assert landed(hub) == [info.oid]

    @pytest.mark.parametrize("body", ['{"commitOid": "0', "<html>Welcome</html>", "[]", "{}"])
    @pytest.mark.parametrize("lands_in", [None, 0.0, 3.0])
    def test_an_answer_that_is_no_answer(self, api, hub, emitted, body, lands_in):
        hub.answer(200, body=body, on="commit", lands_in=lands_in)
        info = commit(api)
        assert landed(hub) == [info.oid]

    def test_a_commit_with_the_same_title_is_not_mistaken_for_ours(self, api, hub, plain):
        commit(plain, "theirs.txt")
        hub.drop(on="commit", applied=False)
        info = commit(api, "ours.txt")
        assert hub.commits[-1].oid == info.oid
        assert hub.commits[-1].paths == ("ours.txt",)
        assert len(hub.commits) == 2

    def test_it_is_found_below_the_commits_of_others(self, make, hub, plain):
        def commit_more_than_a_page(event) -> None:
            if isinstance(event, ThrottleEvent):
                for number in range(60):
                    commit(plain, f"theirs-{number}.txt")

        hub.drop(on="commit", applied=True)
        hub.drop(on="history", after=1)  # the look that would find it at once
        info = commit(make(hooks=[commit_more_than_a_page]), "ours.txt")
        assert info.oid == landed(hub)[0]
        assert len(hub.commits) == 61

    def test_a_stream_is_sent_again_from_its_beginning(self, api, hub):
        hub.drop(on="commit", applied=False)
        commit(api, operations=[CommitOperationAdd("s.txt", io.BytesIO(b"whole"))])
        (info,) = api.get_paths_info(REPO, ["s.txt"], repo_type="dataset")
        assert info.size == 5

    def test_in_a_future(self, api, hub):
        hub.drop(on="commit", applied=True)
        assert commit(api, run_as_future=True).result(timeout=60).oid == hub.commits[0].oid

    def test_a_commit_of_another_library(self, api, hub, plain, emitted):
        hub.answer(504, on="commit", lands_in=3)
        with api.everywhere():
            info = commit(plain)
        assert landed(hub) == [info.oid]
        assert reasons(emitted)[0] == 504

    def test_files_that_an_earlier_attempt_has_deleted(self, api, hub, monkeypatch):
        """The second attempt names no parent, and meets 404: the first one has landed between look and attempt."""
        commit(api)
        hub.answer(504, on="commit", lands_in=1.5, holds=False)
        monkeypatch.setattr(recovery.Recovery, "_parent", lambda self: None)
        monkeypatch.setattr(recovery, "_SETTLED", 0.0)
        monkeypatch.setattr("random.uniform", lambda low, high: low)
        api.delete_file("a.txt", **WHERE)
        assert len(hub.commits) == 2


class TestALateCommit:
    @pytest.mark.parametrize("seconds", [0.5, 3, 30, 80])
    @pytest.mark.parametrize("holds", [True, False])
    @pytest.mark.parametrize("status", [500, 504, None])
    def test_it_is_the_only_one(self, api, hub, emitted, status, seconds, holds):
        if status is None:
            hub.drop(on="commit", lands_in=seconds, holds=holds)
        else:
            hub.answer(status, body=GATEWAY_TIMEOUT, on="commit", lands_in=seconds, holds=holds)
        info = commit(api)
        info_of_next = commit(api, "next.txt")
        assert landed(hub) == [info.oid, info_of_next.oid]

    def test_the_lock_says_that_ours_is_still_under_way(self, api, hub, emitted):
        hub.answer(504, on="commit", lands_in=30)
        commit(api)
        assert reasons(emitted)[0] == 504
        assert set(reasons(emitted)[1:]) == {409}
        assert isinstance(emitted[-1], RecoveredEvent)

    def test_the_first_attempt_is_delivered_after_the_second(self, api, hub, time):
        """The gateway gives up on it, and delivers it when the second one has long landed."""
        hub.answer(504, on="commit", lands_in=600, holds=False)
        info = commit(api)
        time.advance(1000)
        commit(api, "next.txt")
        assert len(hub.commits) == 2
        assert landed(hub)[0] == info.oid

    @pytest.mark.local_hub(commit_time=70)
    def test_a_commit_that_takes_longer_than_the_gateway_waits(self, api, hub):
        info = commit(api)
        assert landed(hub) == [info.oid]

    @pytest.mark.local_hub(commit_time=70, late="never")
    def test_one_that_never_lands(self, make, hub):
        api = make(retry=RetryPolicy(recover=True, max_total_wait=600))
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == 504
        assert landed(hub) == []

    def test_a_refusal_that_was_carried_out_after_all(self, api, hub, emitted):
        hub.answer(429, headers={"Retry-After": "55"}, on="commit", lands_in=1, holds=False)
        info = commit(api)
        assert landed(hub) == [info.oid]
        assert [type(event) for event in emitted] == [ThrottleEvent, RecoveredEvent]


class TestAPullRequest:
    @pytest.mark.parametrize("seconds", [0, 0.5, 3, 30, 80])
    @pytest.mark.parametrize("holds", [True, False])
    def test_only_one_is_opened(self, api, hub, seconds, holds):
        commit(api, "first.txt", create_pr=True)
        hub.answer(504, on="commit", lands_in=seconds, holds=holds)
        info = commit(api, create_pr=True)
        assert (info.pr_num, info.pr_revision) == (2, "refs/pr/2")
        assert info.pr_url == f"{hub.url}/datasets/{REPO}/discussions/2"
        assert info.oid == hub.commits[-1].oid
        assert pull_requests(api) == [2, 1]

    def test_one_that_did_not_land_is_opened_when_it_cannot_land_any_more(self, api, hub, time):
        hub.drop(on="commit", applied=False)
        assert commit(api, create_pr=True).pr_num == 1
        assert pull_requests(api) == [1]
        assert time.now() >= 60

    def test_those_of_others_are_not_mistaken_for_it(self, make, hub, plain):
        def open_another(event) -> None:
            if event.retry == 1:
                commit(plain, "theirs.txt", create_pr=True)

        hub.drop(on="commit", applied=False)
        info = commit(make(hooks=[open_another]), create_pr=True)
        assert info.pr_num == 2
        assert pull_requests(plain) == [2, 1]

    def test_to_an_existing_one(self, api, hub):
        first = commit(api, create_pr=True)
        hub.answer(504, on="commit", lands_in=3)
        second = commit(api, "b.txt", revision=first.pr_revision)
        assert landed(hub) == [first.oid, second.oid]


class TestTheParent:
    def test_a_writer_who_comes_first_costs_one_more_attempt(self, make, hub, plain, emitted):
        def come_first(event) -> None:
            emitted.append(event)
            if event.retry == 1:
                commit(plain, "theirs.txt")

        hub.answer(504, on="commit", lands_in=40, holds=False)  # then the Hub refuses it, because its parent is old
        info = commit(make(hooks=[come_first]))
        assert landed(hub)[1:] == [info.oid]
        assert reasons(emitted) == [504]

    def test_the_callers_own_is_kept(self, api, hub):
        head = commit(api, "first.txt").oid
        hub.drop(on="commit", applied=True)
        info = commit(api, "second.txt", parent_commit=head)
        assert hub.commits[-1].oid == info.oid
        hub.drop(on="commit", applied=False)
        with pytest.raises(HfHubHTTPError, match=r"updated|happened"):
            commit(api, "third.txt", parent_commit=head)
        assert len(hub.commits) == 2

    @pytest.mark.parametrize("seconds", [0.5, 3, 30])
    def test_the_callers_own_with_a_late_commit(self, api, hub, seconds):
        head = commit(api, "first.txt").oid
        hub.answer(504, on="commit", lands_in=seconds, holds=False)
        info = commit(api, "second.txt", parent_commit=head)
        assert landed(hub) == [head, info.oid]

    def test_412_with_it_passes_at_once(self, api, hub, time, emitted):
        head = commit(api, "first.txt").oid
        commit(api, "second.txt")
        looks = seen(hub, "history")
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api, "third.txt", parent_commit=head)
        assert caught.value.response.status_code == 412
        assert (time.waits, emitted, seen(hub, "history")) == ([], [], looks)

    def test_412_without_it_is_retried_within_seconds(self, api, hub, emitted):
        hub.answer(412, body={"error": "A commit has happened since. Please refresh and try again."}, on="commit")
        info = commit(api)
        assert landed(hub) == [info.oid]
        (event,) = emitted
        assert (event.reason, event.limiter) == (412, "lock")
        assert 0.2 <= event.wait_s <= 10

    def test_after_three_lost_races_it_goes_without(self, api, hub, plain, monkeypatch):
        """Another writer commits between each look and the attempt that follows."""
        look, looks = recovery.Recovery._in_history, []

        def look_while_another_commits(self):
            found = look(self)
            looks.append(found)
            other = threading.Thread(target=commit, args=(plain, f"theirs-{len(looks)}.txt"))
            other.start()
            other.join(timeout=60)
            return found

        monkeypatch.setattr(recovery.Recovery, "_in_history", look_while_another_commits)
        info = commit(api, "ours.txt")
        assert landed(hub)[-1] == info.oid
        assert looks == [None] * 4

    def test_threads_of_one_process_do_not_race(self, api, hub):
        threads = [threading.Thread(target=commit, args=(api, f"{number}.txt")) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        assert len(hub.commits) == 8
        assert seen(hub, "commit") == 8


class TestAnOutage:
    @pytest.mark.parametrize("outage", [120, 3600])
    def test_it_is_survived(self, hub, make, time, emitted, outage):
        def restore(event) -> None:
            emitted.append(event)
            if time.now() + event.wait_s > outage:
                hub.clear()

        hub.answer(503, body="busy", on="commit", times=1000)
        info = commit(make(hooks=[restore]))
        assert landed(hub) == [info.oid]
        assert outage <= time.now() <= outage + 120
        assert set(reasons(emitted)) == {503}
        assert seen(hub, "commit") <= outage / 5
        waits = [event.wait_s for event in emitted]
        assert waits[:5] == sorted(waits[:5])
        assert max(waits) <= 60

    def test_one_of_everything_is_survived(self, hub, api, time, monkeypatch):
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub's own retries
        hub.answer(502, times=60)
        info = commit(api)
        assert landed(hub) == [info.oid]

    def test_retry_after_is_honoured(self, api, hub, emitted):
        hub.answer(503, headers={"Retry-After": "5"}, body="try again in 2 hours", on="commit")
        commit(api)
        (event,) = emitted
        assert event.wait_s == pytest.approx(5)
        assert event.hint == "retry-after"

    def test_a_retry_after_beyond_all_patience_raises_at_once(self, api, hub, time):
        hub.answer(503, headers={"Retry-After": "86400"}, on="commit")
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert time.waits == []

    def test_it_uses_up_no_retries_of_the_quota(self, hub, make, emitted):
        hub.answer(503, on="commit", times=4)
        hub.answer(429, headers={"Retry-After": "5"}, on="commit", times=2)
        commit(make(retry=RetryPolicy(max_retries=2, recover=True)))
        assert [(event.reason, event.retry, event.max_retries) for event in emitted][-2:] == [(429, 1, 2), (429, 2, 2)]
        assert len(hub.commits) == 1

    def test_it_takes_one_place_in_the_budget(self, hub, make):
        api = make(budget="memory://?limit=128&window=3600")
        hub.answer(503, on="commit", times=8)
        commit(api)
        assert api.budget_status(REPO, repo_type="dataset").used == 1

    def test_a_wait_can_be_cancelled(self, hub, make):
        hub.drop(on="commit", applied=False, times=100)
        apis: list[ThrottledHfApi] = []
        api = make(hooks=[lambda event: apis[0].cancel_waits()])
        apis.append(api)
        with pytest.raises(WaitCancelled) as caught:
            commit(api)
        assert "unknown whether the commit has landed" in gave_up(caught.value).reason


class TestReadingTheHistory:
    def test_a_read_that_fails_is_repeated(self, api, hub, emitted):
        hub.drop(on="commit", applied=True)
        hub.drop(on="history", times=4, after=1)
        assert commit(api).oid == hub.commits[0].oid
        assert reasons(emitted) == [0, 0, 0, 0]
        assert seen(hub, "commit") == 1

    def test_a_refused_read_is_waited_out(self, api, hub, emitted):
        hub.drop(on="commit", applied=True)
        hub.answer(429, headers={"Retry-After": "55"}, on="history", after=1)
        assert commit(api).oid == hub.commits[0].oid
        assert [(type(event), getattr(event, "reason", None)) for event in emitted] == [
            (ThrottleEvent, 429),
            (RecoveredEvent, None),
        ]
        assert seen(hub, "commit") == 1

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_one_that_is_forbidden_raises_the_error_of_the_commit(self, api, hub, emitted, status):
        hub.answer(503, on="commit")
        hub.answer(status, on="history", times=100, after=1)
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == 503
        assert caught.value.__cause__.response.status_code == status
        assert "unknown whether the commit has landed" in gave_up(caught.value).reason
        assert seen(hub, "commit") == 1
        assert isinstance(emitted[-1], GaveUpEvent)

    def test_a_page_of_another_shape_is_no_history(self, api, hub):
        hub.drop(on="commit", applied=True)
        hub.answer(200, body={"error": "no history"}, on="history", after=1, times=2)
        assert commit(api).oid == hub.commits[0].oid
        assert len(hub.commits) == 1

    @pytest.mark.parametrize("status", [403, 500])
    def test_without_a_history_a_commit_that_is_answered_lands(self, api, hub, status):
        hub.answer(status, on="history", times=1000)
        info = commit(api)
        assert landed(hub) == [info.oid]

    def test_without_a_first_read_it_takes_longer(self, api, hub, time):
        """The first attempt named no parent, so that it must not be sent again before it is surely over."""
        hub.answer(403, on="history")
        hub.answer(504, on="commit", lands_in=50, holds=False)
        info = commit(api)
        assert landed(hub) == [info.oid]
        assert time.now() >= 50


class TestGivingUp:
    def test_the_error_is_raised_with_how_to_find_out(self, hub, make, emitted):
        hub.drop(on="commit", applied=False, times=100)
        with pytest.raises(Exception, match=r"(?i)disconnect|aborted|closed|reset") as caught:
            commit(make(retry=RetryPolicy(recover=True, max_total_wait=100)))
        record = gave_up(caught.value)
        assert record.calls == seen(hub, "commit")
        assert record.waited_s <= 100
        where = f"{hub.url}/datasets/{REPO}/commits/main"
        assert re.search(
            rf"It is unknown whether the commit has landed: look for 'Mat-Vis-Hub-Commit: \w+' in {where}",
            record.reason,
        )
        if hasattr(caught.value, "__notes__"):
            assert "It is unknown whether" in caught.value.__notes__[-1]
            assert "Send the commit again later" not in caught.value.__notes__[-1]
        assert re.match(r"bake_gave_up .* reason=000 ", emitted[-1].line)

    def test_what_may_have_landed_stays_in_the_budget(self, hub, make):
        api = make(budget="memory://?limit=128&window=3600", retry=RetryPolicy(recover=True, max_total_wait=30))
        hub.answer(504, on="commit", times=100)
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert api.budget_status(REPO, repo_type="dataset").used == 1

    @pytest.mark.parametrize("applied", [True, False])
    def test_with_max_retries_0_it_looks_once_and_does_not_wait(self, hub, make, time, applied):
        api = make(retry=RetryPolicy(max_retries=0, recover=True))
        hub.drop(on="commit", applied=applied)
        if applied:
            assert commit(api).oid == landed(hub)[0]
        else:
            with pytest.raises(Exception, match=r"(?i)disconnect|aborted|closed|reset"):
                commit(api)
        assert time.waits == []
        assert (seen(hub, "commit"), seen(hub, "history")) == (1, 1)

    @pytest.mark.parametrize("status", [400, 401, 403, 404])
    def test_other_errors_are_raised_at_once(self, api, hub, time, status):
        hub.answer(status, on="commit")
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == status
        assert time.waits == []
        assert seen(hub, "commit") == 1

    def test_an_error_before_the_commit_is_raised_at_once(self, api, hub):
        hub.answer(403, on="preupload")
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert seen(hub, "history") == seen(hub, "commit") == 0


class TestCost:
    def test_without_a_loss_it_costs_a_read_and_a_line_in_the_description(self, api, hub, plain):
        commit(api, commit_description="Why.")
        assert [seen(hub, endpoint) for endpoint in ("history", "preupload", "commit")] == [1, 1, 1]
        (ours,) = [c for c in plain.list_repo_commits(REPO, repo_type="dataset") if c.title == "Add"]
        assert re.fullmatch(r"Why\.\n\nMat-Vis-Hub-Commit: [0-9a-f]{32}", ours.message)

    def test_a_parent_of_the_callers_own_saves_the_read(self, api, hub, plain):
        commit(api, parent_commit=plain.repo_info(**WHERE).sha)
        assert seen(hub, "history") == 0

    def test_the_history_is_read_with_the_token_of_the_call(self, hub, make):
        seen_tokens: list[str] = []
        client = get_session()
        send = type(client).send

        def spy(self, request, *args, **kwargs):
            seen_tokens.append(request.headers.get("authorization"))
            return send(self, request, *args, **kwargs)

        spy._mat_vis_hub_wrapped = send._mat_vis_hub_wrapped
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(client), "send", spy)
            commit(make(), token="hf_another")
        assert set(seen_tokens) == {"Bearer hf_another"}


class TestWithoutRecover:
    @pytest.mark.parametrize("status", [412, 500, 503])
    def test_a_lost_answer_is_raised(self, hub, make, plain, status):
        api = make(retry=None)
        hub.answer(status, on="commit")
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert (seen(hub, "commit"), seen(hub, "history")) == (1, 0)
        commit(api)
        assert not [c for c in plain.list_repo_commits(REPO, repo_type="dataset") if "Mat-Vis-Hub" in c.message]

    def test_it_says_where_it_cannot_work(self, api, hub, monkeypatch):
        client = get_session()
        monkeypatch.setattr(client, "send", client.send, raising=False)
        with pytest.warns(UserWarning, match="recover=True"):
            commit(api)


ACCIDENTS = (
    [("drop", None), ("drop", "applied"), ("drop", "late")]
    + [(status, when) for status in (500, 502, 503, 504) for when in (None, "late")]
    + [("cut off", "applied"), ("cut off", None), ("no JSON", "late"), ("no JSON", None)]
    + [("race", None), ("lock", None), ("refused", None), ("refused", "late"), ("search", None)]
)
COMMITS = 400  # for each number of writers: the three generations meet more than a thousand accidents


@pytest.mark.local_hub(
    limit=None, api_limit=None, pages_limit=None, pull_request_limit=None, commit_time=0.2, operation_time=0
)
@pytest.mark.parametrize("writers", [1, 6])
def test_exactly_one_commit_each_after_random_accidents(hub, time, writers):
    """The accidents are the same in each run of an environment, as far as threads allow."""
    chance = random.Random(f"{platform.python_version()} {huggingface_hub.__version__} {writers}")
    policy = RetryPolicy(max_retries=50, max_total_wait=100_000, recover=True)
    api = ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=policy, hooks=[])
    rival = HfApi(endpoint=hub.url, token="hf_x")
    infos: dict[str, CommitInfo] = {}
    failures: list[BaseException] = []

    def work(name: str, kind: str) -> None:
        content = name.encode() * (1000 if kind == "large" else 1)
        operation = CommitOperationAdd(f"{name}.{'bin' if kind == 'large' else 'txt'}", content)
        options: dict = {"create_pr": True} if kind == "pull request" else {}
        try:
            if kind == "parent":
                options = {"parent_commit": rival.repo_info(**WHERE).sha}
            infos[name] = commit(api, operations=[operation], **options)
        except BaseException as error:
            was_overtaken = getattr(getattr(error, "response", None), "status_code", None) == 412
            if not (kind == "parent" and was_overtaken):
                failures.append(error)

    def interfere(name: str) -> None:
        with suppress(Exception):  # it dies of every accident, and sends nothing twice
            commit(rival, name)

    for number in range(COMMITS // (writers + 1)):
        threads = []
        for writer in range(writers):
            kind = chance.choice(["plain", "plain", "pull request", "parent", "large"])
            threads.append(threading.Thread(target=work, args=(f"{number}-{writer}", kind)))
        for _ in range(chance.choice([1, 1, 2, 3]) * (1 if writers == 1 else 2)):
            play(hub, chance, *chance.choice(ACCIDENTS))
        if chance.random() < 0.3:
            threads.append(threading.Thread(target=interfere, args=(f"{number}-rival.txt",)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
    assert failures == []
    hub.clear()
    time.advance(10_000)  # what lands late has landed now
    commit(api, "last.txt")
    paths = [path for each in hub.commits for path in each.paths]
    ours = {path.partition(".")[0] for path in paths if "rival" not in path} - {"last"}
    assert sorted(paths) == sorted(set(paths)), "a commit landed twice"
    assert ours == set(infos)
    by_path = {each.paths[0].partition(".")[0]: each.oid for each in hub.commits}
    assert {name: info.oid for name, info in infos.items()} == {name: by_path[name] for name in infos}


def play(hub, chance: random.Random, kind: str | int, when: str | None) -> None:
    late = {"lands_in": chance.choice([0.0, 0.5, 3.0, chance.uniform(0, 70)]), "holds": chance.random() < 0.5}
    late = late if when == "late" else {}
    if kind == "drop":
        hub.drop(on="commit", applied=when == "applied", **late)
    elif kind == "cut off":
        hub.truncate(on="commit", applied=when == "applied")
    elif kind == "no JSON":
        hub.answer(200, body='{"commitOid":', on="commit", **late)
    elif kind == "race":
        hub.race()
    elif kind == "lock":
        hub.answer(409, body={"error": "Another commit operation is in progress for this repository."}, on="commit")
    elif kind == "refused":
        if late:  # a refusal is no lost answer: there is one look, when its wait of 30 seconds is over
            late["lands_in"] = min(late["lands_in"], 20.0)
        hub.answer(429, headers={"Retry-After": "30"}, on="commit", **late)
    elif kind == "search":
        hub.answer(chance.choice([500, 503]), on="history")
    else:
        headers = {"Retry-After": "7"} if chance.random() < 0.3 else {}
        hub.answer(kind, headers=headers, on="commit", **late)
