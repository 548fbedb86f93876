"""ThrottledHfApi over real HTTP, against the local Hub: it behaves like HfApi, and waits out 429."""

from __future__ import annotations

import copy
import inspect
import io
import os
import pickle
import re
import threading
from contextlib import suppress
from unittest import mock

import pytest
from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import (
    BudgetStatus,
    GaveUpEvent,
    PaceEvent,
    RetryPolicy,
    ThrottledHfApi,
    ThrottleEvent,
    WaitCancelled,
    gave_up,
    log_event,
)
from tests.refusals import commit_quota

REPO = "you/textures"
TOKEN = "hf_" + "s3cret" * 6
LINE = re.compile(r"^bake_throttle source=(\S+) retry=(\d+)/(\d+) reason=429 wait_s=([\d.]+) elapsed=(\d+m\d+s)$")


@pytest.fixture
def hub(local_hub, time):
    HfApi(endpoint=local_hub.url, token=TOKEN).create_repo(REPO, repo_type="dataset")
    return local_hub


@pytest.fixture
def api(hub, events) -> ThrottledHfApi:
    return ThrottledHfApi(
        endpoint=hub.url, token=TOKEN, source="ambientcg", retry=RetryPolicy(jitter=0), hooks=[events.append]
    )


def add(path: str = "a.txt", content: object = b"a") -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


def commit(api: HfApi, *operations, **kwargs):
    return api.create_commit(REPO, list(operations) or [add()], repo_type="dataset", commit_message="m", **kwargs)


def content(hub, path: str, api: HfApi | None = None) -> bytes:
    """The content of the file at `path` on the Hub."""
    from urllib.request import urlopen

    with urlopen(f"{hub.url}/datasets/{REPO}/resolve/main/{path}") as response:
        return response.read()


def refuse(hub, on: str = "commit", **kwargs) -> None:
    """Refuse the next request for one minute."""
    hub.answer(429, body=commit_quota("1 minute").text, on=on, **kwargs)


def seen(hub, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in hub.requests)


class TestRetry:
    def test_a_refused_commit_lands_after_the_announced_wait(self, api, hub, time, events):
        refuse(hub)
        info = commit(api)
        assert isinstance(info, CommitInfo)
        assert content(hub, "a.txt") == b"a"
        assert time.waits == [90]
        (event,) = events
        assert isinstance(event, ThrottleEvent)
        assert isinstance(event.error, HfHubHTTPError)
        assert (event.source, event.repo_id, event.repo_type, event.revision) == ("ambientcg", REPO, "dataset", "main")
        assert (event.retry, event.max_retries, event.wait_s, event.hint) == (1, 5, 90, "body")

    @pytest.mark.local_hub(limit=2)
    def test_six_commits_land_under_a_limit_of_two_per_hour(self, api, hub, time, events):
        for number in range(6):
            commit(api, add(f"{number}.txt"))
        assert len(hub.commits) == 6
        assert len(hub.refusals) == len(events) <= 4
        assert 2 * 3600 <= time.now() <= 1.05 * 2 * 3600

    def test_the_default_hook_prints_the_documented_line(self, hub, time, capsys):
        refuse(hub)
        commit(ThrottledHfApi(endpoint=hub.url, token=TOKEN), source="polyhaven")
        (line,) = capsys.readouterr().out.splitlines()
        assert LINE.match(line).group(1, 2, 3, 5) == ("polyhaven", "1", "5", "0m0s")

    def test_the_sixth_refusal_is_raised(self, api, hub, time, events):
        refuse(hub, times=6)
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == 429
        assert seen(hub, "commit") == 6
        *throttled, gave_up = events
        assert [f"{event.retry}/{event.max_retries}" for event in throttled] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
        assert isinstance(gave_up, GaveUpEvent)
        assert len(time.waits) == 5
        if hasattr(caught.value, "add_note"):
            assert "6 calls in 7m30s" in caught.value.__notes__[0]

    def test_a_wait_beyond_max_total_wait_raises_without_waiting(self, hub, time):
        hub.answer(429, headers={"Retry-After": "100"}, on="commit")
        api = ThrottledHfApi(endpoint=hub.url, token=TOKEN, retry=RetryPolicy(max_total_wait=99), hooks=[])
        with pytest.raises(HfHubHTTPError):
            commit(api)
        assert time.waits == []

    def test_run_as_future_retries_inside_the_future(self, api, hub, time, events):
        refuse(hub)
        first = commit(api, add("a.txt"), run_as_future=True)
        second = commit(api, add("b.txt"), run_as_future=True, source="polyhaven")
        assert isinstance(first.result(timeout=60), CommitInfo)
        assert isinstance(second.result(timeout=60), CommitInfo)
        assert [event.source for event in events] == ["ambientcg"]
        assert [commit.paths for commit in hub.commits][-2:] == [("a.txt",), ("b.txt",)]


class TestOperations:
    def test_a_generator_is_committed_whole_after_a_refusal(self, api, hub, time):
        refuse(hub)
        api.create_commit(REPO, (add(f"{n}.txt") for n in range(3)), repo_type="dataset", commit_message="m")
        assert sorted(hub.commits[-1].paths) == ["0.txt", "1.txt", "2.txt"]

    @pytest.mark.parametrize("endpoint", ["preupload", "commit"])
    def test_streams_are_committed_whole_after_a_refusal(self, api, hub, time, tmp_path, endpoint):
        (tmp_path / "file").write_bytes(b"from a file")
        refuse(hub, on=endpoint)
        with (tmp_path / "file").open("rb") as file:
            commit(api, add("stream.txt", io.BytesIO(b"from memory")), add("file.txt", file))
        assert content(hub, "stream.txt") == b"from memory"
        assert content(hub, "file.txt") == b"from a file"

    @pytest.mark.parametrize("endpoint", ["lfs-batch", "lfs-verify", "commit"])
    def test_a_large_stream_is_uploaded_whole_after_a_refusal(self, api, hub, time, endpoint):
        payload = os.urandom(300_000)
        refuse(hub, on=endpoint)
        commit(api, add("big.bin", io.BytesIO(payload)))
        assert content(hub, "big.bin") == payload
        assert len(time.waits) == 1

    def test_a_stream_that_is_read_during_the_wait_is_committed_whole(self, api, hub, time, monkeypatch):
        stream = io.BytesIO(b"whole")
        refuse(hub)
        api.hooks = type(api.hooks)([lambda event: stream.read(3)])
        commit(api, add("stream.txt", stream))
        assert content(hub, "stream.txt") == b"whole"

    def test_uploaded_files_are_neither_read_nor_uploaded_again(self, hub, time, tmp_path):
        path = tmp_path / "big.bin"
        path.write_bytes(os.urandom(300_000))
        sent = []

        def delete(event):
            path.unlink()  # so that hashing or uploading it again fails
            sent.append(hub.bytes_received)

        refuse(hub)
        commit(ThrottledHfApi(endpoint=hub.url, token=TOKEN, hooks=[delete]), add("big.bin", str(path)))
        assert len(content(hub, "big.bin")) == 300_000
        assert hub.bytes_received - sent[0] < 10_000


class TestRefusals:
    @pytest.mark.parametrize("endpoint", ["preupload", "commit"])
    def test_a_429_to_any_request_of_a_commit_is_waited_out(self, api, hub, time, events, endpoint):
        hub.answer(429, headers={"RateLimit": '"api";r=0;t=55'}, body={"error": "slow down"}, on=endpoint)
        commit(api)
        assert time.waits == [55]
        assert [event.hint for event in events] == ["ratelimit"]
        assert content(hub, "a.txt") == b"a"

    @pytest.mark.parametrize("endpoint", ["lfs-batch", "lfs-verify"])
    def test_a_429_to_any_request_of_an_upload_is_waited_out(self, api, hub, time, events, endpoint):
        hub.answer(429, headers={"Retry-After": "7"}, on=endpoint)
        commit(api, add("big.bin", io.BytesIO(os.urandom(1000))))
        assert time.waits == [7]
        assert [event.hint for event in events] == ["retry-after"]

    def test_a_refusal_that_huggingface_hub_wraps_is_raised_as_the_wrapper(self, hub, time):
        api = ThrottledHfApi(endpoint=hub.url, token=TOKEN, retry=RetryPolicy(max_retries=0), hooks=[])
        hub.answer(429, on="lfs-verify")
        with pytest.raises(RuntimeError, match=r"Error while uploading 'big.bin'") as caught:
            commit(api, add("big.bin", io.BytesIO(os.urandom(1000))))
        assert caught.value.__cause__.response.status_code == 429

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 500, 502, 503, 504])
    def test_any_other_error_status_is_raised_at_once_and_unchanged(self, api, hub, time, events, status):
        hub.answer(status, body={"error": "no"}, on="commit")
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        assert caught.value.response.status_code == status
        assert not hasattr(caught.value, "__notes__")
        assert seen(hub, "commit") == 1
        assert (time.waits, events) == ([], [])

    @pytest.mark.parametrize("applied", [False, True])
    def test_a_lost_connection_is_raised_at_once(self, api, hub, time, events, applied):
        hub.drop(on="commit", applied=applied)
        with pytest.raises(Exception, match=r"(?i)disconnect|aborted|closed|reset") as caught:
            commit(api)
        assert not isinstance(caught.value, HfHubHTTPError)
        assert seen(hub, "commit") == 1
        assert (time.waits, events) == ([], [])

    def test_a_412_for_a_moved_branch_is_raised_at_once(self, api, hub, time):
        first = commit(api)
        commit(api, add("b.txt"))
        with pytest.raises(HfHubHTTPError, match="The branch was updated since") as caught:
            commit(api, add("c.txt"), parent_commit=first.oid)
        assert caught.value.response.status_code == 412


class TestWriters:
    def test_two_threads_with_one_object_count_their_retries_separately(self, api, hub, time, events):
        api.create_repo("you/others", repo_type="dataset")
        refuse(hub, times=4)
        barrier = threading.Barrier(2)

        def work(repo: str, source: str) -> None:
            barrier.wait()
            api.create_commit(repo, [add(f"{source}.txt")], repo_type="dataset", commit_message="m", source=source)

        threads = [threading.Thread(target=work, args=args) for args in ((REPO, "one"), ("you/others", "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        for source in ("one", "two"):
            retries = [event.retry for event in events if event.source == source]
            assert retries == list(range(1, len(retries) + 1))
        assert sum(isinstance(event, ThrottleEvent) for event in events) == 4
        assert {commit.repo for commit in hub.commits} == {REPO, "you/others"}

    def test_a_refusal_holds_back_every_object_of_the_process(self, hub, time):
        def writer(events: list) -> ThrottledHfApi:
            return ThrottledHfApi(
                endpoint=hub.url, token=TOKEN, retry=RetryPolicy(max_retries=1), hooks=[events.append]
            )

        refuse(hub, times=2)
        with pytest.raises(HfHubHTTPError):
            commit(writer([]))
        events: list = []
        commit(writer(events))
        assert [event.line.split()[0] for event in events] == ["bake_pace"]
        assert len(hub.refusals) == 2

    @pytest.mark.local_hub(limit=32)
    def test_sixteen_threads_on_a_spent_quota_get_at_most_two_refusals(self, hub, time, events):
        hub.spend(REPO, 32, repo_type="dataset")
        apis = [ThrottledHfApi(endpoint=hub.url, token=TOKEN, hooks=[events.append]) for _ in range(16)]
        threads = [threading.Thread(target=commit, args=(api, add(f"{number}.txt"))) for number, api in enumerate(apis)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert len(hub.commits) == 16
        assert len(hub.refusals) <= 2
        assert time.now() <= 1.05 * 3600

    @pytest.mark.parametrize("budget", [None, "memory://"])
    def test_a_later_refusal_replaces_an_earlier_one(self, hub, time, budget):
        def writer() -> ThrottledHfApi:
            return ThrottledHfApi(endpoint=hub.url, token=TOKEN, retry=RetryPolicy(jitter=0), budget=budget, hooks=[])

        hub.answer(429, headers={"Retry-After": "86400"}, on="commit")
        with pytest.raises(HfHubHTTPError):
            commit(writer())
        refuse(hub)  # the first refusal is too long to be waited for, so the next commit is sent, and refused as well
        commit(writer())
        assert time.waits == [90]

    @pytest.mark.parametrize("budget", [None, "memory://"])
    def test_a_commit_that_landed_ends_an_earlier_refusal(self, hub, time, budget):
        patient = RetryPolicy(max_total_wait=1e6, jitter=0)
        hub.answer(429, headers={"Retry-After": "86400"}, on="commit")
        for policy in (RetryPolicy(max_retries=0), RetryPolicy(), patient, patient):
            api = ThrottledHfApi(endpoint=hub.url, token=TOKEN, retry=policy, budget=budget, hooks=[])
            with suppress(HfHubHTTPError):  # the first one
                commit(api, add(f"{len(hub.requests)}.txt"))
        assert len(hub.commits) == 3
        assert sum(time.waits) < 60  # after a refusal, a budget spreads the commits by seconds

    def test_large_files_are_uploaded_while_another_commit_waits(self, hub, time):
        """Eight threads upload at the same time while a refused commit waits and keeps its turn."""
        waits, all_uploaded, meeting = threading.Event(), threading.Event(), threading.Barrier(8)
        seen_by_then: list[str] = []
        uploaded: list[PaceEvent] = []

        class Stream(io.BytesIO):
            """A stream whose upload begins when all eight have begun."""

            meets = False

            def read(self, *args):
                if self.meets:
                    self.meets = False
                    meeting.wait(60)
                return super().read(*args)

        def while_refused(event) -> None:
            if isinstance(event, ThrottleEvent):
                waits.set()
                all_uploaded.wait(60)
                seen_by_then.extend(request.endpoint for request in hub.requests)

        def asks_for_its_turn(event) -> None:
            uploaded.append(event)
            if len(uploaded) == 8:
                all_uploaded.set()

        def upload(number: int) -> None:
            operation = add(f"{number}.bin", Stream(os.urandom(1000)))
            operation.path_or_fileobj.meets = True
            commit(ThrottledHfApi(endpoint=hub.url, token=TOKEN, hooks=[asks_for_its_turn]), operation)

        hub.answer(429, headers={"Retry-After": "30"}, on="commit")
        refused = ThrottledHfApi(endpoint=hub.url, token=TOKEN, hooks=[while_refused])
        threads = [threading.Thread(target=commit, args=(refused,))]
        threads[0].start()
        assert waits.wait(60)
        threads += [threading.Thread(target=upload, args=(number,)) for number in range(8)]
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert seen_by_then.count("lfs-upload") == 8
        assert seen_by_then.count("commit") == 1
        assert len(hub.commits) == 9


class TestBudget:
    """Commits wait before they are refused. The waits are emitted, and `budget_status` shows them in advance."""

    @pytest.fixture
    def api(self, hub, events) -> ThrottledHfApi:
        return ThrottledHfApi(
            endpoint=hub.url,
            token=TOKEN,
            source="ambientcg",
            budget="memory://?limit=2&window=60",
            hooks=[events.append],
        )

    @pytest.mark.local_hub(limit=2, window=60)
    def test_commits_beyond_the_budget_wait_without_a_refusal(self, api, hub, time, events):
        for number in range(5):
            commit(api, add(f"{number}.txt"))
        assert len(hub.commits) == 5
        assert hub.refusals == []
        assert 120 <= time.now() <= 125
        for event in events:
            line = r"bake_pace source=ambientcg repo=you/textures reason=budget used=2/2 wait_s=59\.\d elapsed=0m0s"
            assert re.fullmatch(line, event.line)
        assert len(events) == 2

    def test_budget_status_shows_the_commits_used_and_when_the_next_may_go(self, api):
        assert api.budget_status(REPO, repo_type="dataset") == BudgetStatus(0, 2, 60.0, ())
        commit(api)
        status = api.budget_status(REPO, repo_type="dataset")
        assert (status.used, status.limit, status.window) == (1, 2, 60.0)
        assert status.frees_in == (pytest.approx(60, abs=0.1),)
        with pytest.raises(ValueError, match="no budget"):
            ThrottledHfApi().budget_status(REPO)

    @pytest.mark.local_hub(limit=8)
    @pytest.mark.parametrize("budget", ["memory://?limit=8", "hub://?limit=8"])
    def test_an_upload_that_changes_nothing_uses_no_reservation(self, hub, time, budget):
        api = ThrottledHfApi(endpoint=hub.url, token=TOKEN, budget=budget, hooks=[])
        api.create_repo("you/resumed")
        for _ in range(41):
            api.upload_file(path_or_fileobj=b"same", path_in_repo="a.txt", repo_id="you/resumed")
        assert seen(hub, "commit") == 1
        assert time.waits == []
        assert api.budget_status("you/resumed").used == 1

    @pytest.mark.local_hub(limit=2, window=60)
    def test_waiting_for_the_budget_counts_towards_max_total_wait(self, api, hub, time):
        api.retry = RetryPolicy(max_total_wait=10)
        commit(api, add("1.txt"))
        commit(api, add("2.txt"))
        with pytest.raises(HfHubHTTPError) as caught:  # it is sent at once, and refused
            commit(api, add("3.txt"))
        assert caught.value.response.status_code == 429
        assert time.waits == []

    def test_a_refusal_that_names_another_quota_corrects_the_limit(self, api, hub, time, events):
        refuse(hub)
        commit(api)
        assert api.budget_status(REPO, repo_type="dataset").limit == 128
        assert 90 <= time.now() <= 95

    def test_the_budget_argument_overrides_the_environment_variable(self, hub, monkeypatch):
        monkeypatch.setenv("MAT_VIS_HUB_BUDGET", "memory://?limit=7")
        api = ThrottledHfApi(endpoint=hub.url)
        assert api.budget_status("you/unheard-of").limit == 7
        api = ThrottledHfApi(endpoint=hub.url, budget="memory://?limit=9")
        assert api.budget_status("you/unheard-of-as-well").limit == 9

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("carrier-pigeon://", "carrier-pigeon"),
            ("memory://?limit=many", "limit"),
            ("redis://:s3cret@127.0.0.1:1/0?strict=1", "127.0.0.1"),
        ],
    )
    def test_an_unusable_budget_url_raises_in_the_constructor_without_its_password(self, url, says):
        pytest.importorskip("redis", reason="the extra `redis`")
        with pytest.raises((ValueError, RuntimeError), match=says) as caught:
            ThrottledHfApi(budget=url)
        assert "s3cret" not in str(caught.value)


class TestArgumentsAreCheckedFirst:
    """An invalid argument is an error at once, and not after a wait."""

    @pytest.fixture(autouse=True)
    def closed_gate(self, hub):
        hub.answer(429, headers={"Retry-After": "3600"}, on="commit")
        with pytest.raises(HfHubHTTPError):
            commit(ThrottledHfApi(endpoint=hub.url, token=TOKEN, retry=RetryPolicy(max_retries=0), hooks=[]))

    @pytest.mark.parametrize(
        ("call", "error", "names"),
        [
            (lambda api: api.create_commit(REPO, [add()], repo_type="dataset"), TypeError, "commit_message"),
            (lambda api: commit(api, no_such_argument=1), TypeError, "no_such_argument"),
            (lambda api: api.create_commit(REPO, [add()], repo_type="dataset", commit_message=""), ValueError, "mess"),
            (lambda api: commit(api, parent_commit="not an oid"), ValueError, "parent_commit"),
            (lambda api: commit(api, source=3), TypeError, "source"),
            (lambda api: api.create_commit("you/a/b", [add()], commit_message="m"), ValueError, "Repo id"),
            (lambda api: api.upload_file(path_or_fileobj=b"", repo_id=REPO), TypeError, "path_in_repo"),
            (
                lambda api: api.upload_file(path_or_fileobj=b"", path_in_repo="../a", repo_id=REPO),
                ValueError,
                "path_in_repo",
            ),
            (lambda api: api.delete_file("a.txt"), TypeError, "repo_id"),
            (lambda api: api.transact(REPO, None, commit_message="m"), TypeError, "build"),
        ],
        ids=["forgotten", "unknown", "empty", "parent", "source", "repo", "file", "path", "delete", "transact"],
    )
    def test_an_invalid_argument_raises_at_once(self, api, hub, time, events, call, error, names):
        before = len(hub.requests)
        with pytest.raises(error, match=names):
            call(api)
        assert (time.waits, events) == ([], [])
        assert len(hub.requests) == before


class TestPatchedInTests:
    """How users test their own code: they patch `time.sleep` or `HfApi.create_commit`. This runs in real time."""

    @pytest.fixture
    def slept(self, monkeypatch) -> list[float]:
        slept: list[float] = []
        monkeypatch.setattr("time.sleep", slept.append)
        return slept

    def test_a_patched_sleep_is_called_once_per_wait(self, local_hub, slept, events):
        api = ThrottledHfApi(endpoint=local_hub.url, token=TOKEN, hooks=[events.append])
        api.create_repo(REPO, repo_type="dataset")
        refuse(local_hub, times=2)
        commit(api)
        assert slept == [pytest.approx(event.wait_s) for event in events]
        assert [event.retry for event in events] == [1, 2]
        assert len(local_hub.commits) == 1

    def test_a_mocked_create_commit_is_called_until_it_returns(self, slept, events):
        answers = [refusal("1 minute"), refusal("2 minutes"), "landed"]
        with mock.patch.object(HfApi, "create_commit", autospec=True, side_effect=answers) as create_commit:
            api = ThrottledHfApi(token=TOKEN, retry=RetryPolicy(jitter=0), hooks=[events.append])
            assert commit(api) == "landed"
        assert create_commit.call_count == 3
        assert slept == [pytest.approx(90), pytest.approx(150)]
        assert [event.wait_s for event in events] == slept

    def test_a_create_commit_replaced_by_a_function_is_called_until_it_returns(self, slept, monkeypatch):
        answers = [refusal("1 minute"), refusal("2 minutes"), "landed"]
        calls: list[dict] = []

        def create_commit(self, repo_id, operations, **kwargs):
            calls.append(kwargs)
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(HfApi, "create_commit", create_commit)
        assert commit(ThrottledHfApi(token=TOKEN, retry=RetryPolicy(jitter=0), hooks=[])) == "landed"
        assert [call["commit_message"] for call in calls] == ["m", "m", "m"]
        assert len(slept) == 2


def refusal(wait: str) -> HfHubHTTPError:
    """The exception that huggingface_hub raises for a refusal."""
    response = mock.Mock(**vars(commit_quota(wait)))
    return HfHubHTTPError("429 Client Error", response=response)


class TestCancelling:
    """`cancel_waits()` and `close()`, in real time: a wait of 43 minutes ends at once."""

    @pytest.fixture
    def hub(self, local_hub):
        HfApi(endpoint=local_hub.url, token=TOKEN).create_repo(REPO, repo_type="dataset")
        local_hub.answer(429, headers={"Retry-After": "2580"}, on="commit")
        return local_hub

    @pytest.fixture
    def waits(self) -> threading.Event:
        """Set when a wait has been announced."""
        return threading.Event()

    @pytest.fixture
    def api(self, hub, waits) -> ThrottledHfApi:
        return ThrottledHfApi(endpoint=hub.url, token=TOKEN, hooks=[lambda event: waits.set()])

    @pytest.mark.parametrize("end", [ThrottledHfApi.cancel_waits, ThrottledHfApi.close], ids=["cancel_waits", "close"])
    @pytest.mark.parametrize("options", [{}, {"source": "polyhaven"}], ids=["own source", "source of the call"])
    def test_a_wait_ends_with_waitcancelled(self, api, hub, waits, end, options):
        future = commit(api, run_as_future=True, **options)
        assert waits.wait(60)
        end(api)
        with pytest.raises(WaitCancelled) as caught:
            future.result(timeout=60)
        assert caught.value.__cause__.response.status_code == 429
        assert gave_up(caught.value).calls == 1
        assert seen(hub, "commit") == 1

    @pytest.mark.parametrize("end", [ThrottledHfApi.cancel_waits, ThrottledHfApi.close], ids=["cancel_waits", "close"])
    def test_the_object_can_be_used_again(self, api, waits, end):
        commit(api, run_as_future=True)
        assert waits.wait(60)
        end(api)
        api.retry = RetryPolicy(max_retries=0)  # so that it does not wait for the gate
        assert commit(api, run_as_future=True).result(timeout=60)

    def test_the_waits_of_another_object_go_on(self, api, hub, waits):
        other = ThrottledHfApi(endpoint=hub.url, token=TOKEN, hooks=[])
        future = commit(api, run_as_future=True)
        assert waits.wait(60)
        other.cancel_waits()
        assert not future.done()
        api.cancel_waits()
        assert isinstance(future.exception(timeout=60), WaitCancelled)

    def test_close_drops_jobs_that_have_not_begun(self, api, hub, waits):
        first, second = commit(api, run_as_future=True), commit(api, add("b.txt"), run_as_future=True)
        assert waits.wait(60)
        api.close()
        assert isinstance(first.exception(timeout=60), WaitCancelled)
        assert second.cancelled()

    def test_close_closes_the_budget(self):
        budget = mock.Mock(spec=["reserve", "renew", "confirm", "cancel", "refused", "status", "close"])
        with ThrottledHfApi(budget=budget) as api:
            assert isinstance(api, ThrottledHfApi)
            budget.close.assert_not_called()
        budget.close.assert_called_once_with()

    def test_leaving_the_with_block_closes_it_and_keeps_its_exception(self, hub, waits):
        def commit_and_fail(api: ThrottledHfApi) -> None:
            with api:
                futures.append(commit(api, run_as_future=True))
                assert waits.wait(60)
                raise ZeroDivisionError

        futures: list = []
        with pytest.raises(ZeroDivisionError):
            commit_and_fail(ThrottledHfApi(endpoint=hub.url, token=TOKEN, hooks=[lambda event: waits.set()]))
        assert isinstance(futures[0].exception(timeout=60), WaitCancelled)


class TestOtherMethods:
    def test_upload_file_and_delete_file_wait(self, api, hub, time, events):
        refuse(hub)
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=REPO, repo_type="dataset")
        refuse(hub)
        api.delete_file("x.txt", REPO, repo_type="dataset")
        assert len(events) == 2
        assert hub.commits[-1].paths == ("x.txt",)

    def test_upload_file_waits_in_the_background(self, api, hub, time, events):
        refuse(hub)
        future = api.upload_file(
            path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=REPO, repo_type="dataset", run_as_future=True
        )
        assert isinstance(future.result(timeout=60), CommitInfo)
        assert len(events) == 1

    def test_invalid_arguments_raise_as_in_hfapi(self, api, hub):
        with pytest.raises(ValueError, match="commit_message"):
            api.create_commit(REPO, [add()], commit_message="")
        with pytest.raises(TypeError):
            api.create_commit(REPO, [add()], commit_message="m", no_such_argument=1)
        with pytest.raises(HfHubHTTPError, match="A file with this name doesn't exist"):
            commit(api, CommitOperationDelete("missing.txt"))


class TestObject:
    def test_the_constructor_takes_the_arguments_of_hfapi_in_the_same_order(self):
        theirs = list(inspect.signature(HfApi.__init__).parameters)
        ours = list(inspect.signature(ThrottledHfApi.__init__).parameters)
        assert ours[: len(theirs)] == theirs
        assert ours[len(theirs) :] == ["source", "retry", "budget", "hooks"]

    def test_defaults(self):
        api = ThrottledHfApi()
        assert (api.source, api.retry, api.endpoint) == ("unknown", RetryPolicy(), HfApi().endpoint)

    @pytest.mark.parametrize(
        ("arguments", "error", "names"),
        [
            ({"source": None}, TypeError, "source"),
            ({"retry": {"max_retries": 3}}, TypeError, "RetryPolicy"),
            ({"hooks": print}, TypeError, "hooks"),
            ({"budget": "carrier-pigeon://"}, ValueError, "budget"),
        ],
        ids=lambda value: str(value),
    )
    def test_invalid_arguments_raise_at_once(self, arguments, error, names):
        with pytest.raises(error, match=names):
            ThrottledHfApi(**arguments)

    def test_it_can_be_pickled_and_copied_after_background_jobs(self, hub, time):
        api = ThrottledHfApi(endpoint=hub.url, token=TOKEN, source="ambientcg", retry=RetryPolicy(max_retries=7))
        commit(api, run_as_future=True).result(timeout=60)
        for twin in (pickle.loads(pickle.dumps(api)), copy.deepcopy(api), copy.copy(api)):
            assert (twin.source, twin.retry, twin.token, twin.endpoint) == ("ambientcg", api.retry, TOKEN, hub.url)
            assert commit(twin, add("b.txt"), run_as_future=True).result(timeout=60)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_process_starts_clean(self, hub, time):
        api = ThrottledHfApi(endpoint=hub.url, token=TOKEN, hooks=[])
        commit(api, run_as_future=True).result(timeout=60)
        child = os.fork()
        if child == 0:  # the parent's background thread does not exist here
            try:
                done = commit(api, add("child.txt", b"from a child"), run_as_future=True).result(timeout=60)
                os._exit(0 if done else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert content(hub, "child.txt") == b"from a child"


class TestWhatIsShown:
    def test_no_line_note_or_repr_contains_the_token(self, hub, time, capsys, caplog):
        api = ThrottledHfApi(endpoint=hub.url, token=TOKEN, retry=RetryPolicy(max_retries=1), source=f"a{TOKEN}b")
        hub.answer(429, body={"error": f"{TOKEN} is too fast"}, on="commit", times=2)
        with pytest.raises(HfHubHTTPError) as caught:
            commit(api)
        out, err = capsys.readouterr()
        assert out.startswith("bake_throttle source=a***b ")
        for text in (out, err, caplog.text, repr(api), repr(api.retry), *getattr(caught.value, "__notes__", [])):
            assert TOKEN not in text

    def test_no_line_contains_a_token_that_was_passed_to_one_call(self, hub, time, capsys):
        api = ThrottledHfApi(endpoint=hub.url)
        refuse(hub)
        commit(api, token="short-token", source="short-token")
        assert "short-token" not in capsys.readouterr().out

    @pytest.mark.parametrize("token", [TOKEN, "hf_oauth_0123456789", "hf_jwt_0123.4567", "any-other"])
    @pytest.mark.parametrize("given", ["object", "call", "environment"])
    def test_no_event_shows_the_token_wherever_it_was_given(self, hub, time, capsys, caplog, monkeypatch, token, given):
        events: list = []
        api = ThrottledHfApi(
            endpoint=hub.url,
            token=token if given == "object" else None,
            source=f"job-{token}-1",
            retry=RetryPolicy(max_retries=1),
            hooks=[lambda event: print(event.line), log_event, events.append],
        )
        if given == "environment":
            monkeypatch.setenv("HF_TOKEN", token)
        options = {"token": token} if given == "call" else {}
        hub.answer(429, headers={"Retry-After": "60"}, body={"error": f"{token} is too fast"}, on="commit", times=3)
        for path in ("a.txt", "b.txt"):
            with suppress(HfHubHTTPError):
                commit(api, add(path), **options)
        assert {type(event) for event in events} == {ThrottleEvent, PaceEvent, GaveUpEvent}
        shown = [capsys.readouterr().out, caplog.text]
        shown += [
            str(value) for record in caplog.records for value in vars(record).values() if value is not record.args
        ]
        assert not [text for text in shown if token in text]

    def test_the_text_of_a_response_cannot_forge_a_line(self, api, hub, time, capsys):
        forged = "bake_throttle source=evil retry=1/5 reason=429 wait_s=1.0 elapsed=0m0s"
        hub.answer(429, body={"error": f"no\n{forged}\n"}, on="commit")
        commit(ThrottledHfApi(endpoint=hub.url, token=TOKEN))
        assert len(capsys.readouterr().out.splitlines()) == 1
