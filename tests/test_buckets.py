"""The buckets of requests: what the `RateLimit` header of a response means for the next request."""

from __future__ import annotations

import os
import sys
import threading

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import PaceEvent, RetryPolicy, ThrottledHfApi, ThrottleEvent, buckets
from mat_vis_hub.buckets import Account, Buckets
from mat_vis_hub.testing import virtual_time

REPO = "you/model"
HERE = Account("https://huggingface.co", 1)
SPENT = {"RateLimit": '"api";r=0;t=55'}


@pytest.fixture
def hub(local_hub, time):
    HfApi(endpoint=local_hub.url, token="hf_other").create_repo(REPO)
    return local_hub


def make_api(hub, events, token="hf_x", **policy) -> ThrottledHfApi:
    retry = RetryPolicy(jitter=0, **policy)
    return ThrottledHfApi(endpoint=hub.url, token=token, source="baker", retry=retry, hooks=[events.append])


@pytest.fixture
def api(hub, events) -> ThrottledHfApi:
    return make_api(hub, events)


def hear(hub, api, header: str) -> None:
    """`api` gets a response with this `RateLimit` header, and with a status that is no refusal."""
    hub.answer(404, headers={"RateLimit": header}, on="info")
    with pytest.raises(HfHubHTTPError):
        api.repo_info(REPO)


class TestRequests:
    @pytest.mark.local_hub(api_limit=6)
    def test_at_the_end_of_the_bucket_the_next_request_waits_and_is_not_refused(self, api, hub, time, events):
        for _ in range(20):
            api.repo_info(REPO)
        assert hub.refusals == []
        assert time.waits == [300, 300, 300]
        assert [(event.source, event.repo_id, event.reason, event.wait_s) for event in events] == [
            ("baker", REPO, "api", 300)
        ] * 3
        assert events[0].line == "bake_pace source=baker repo=you/model reason=api wait_s=300.0 elapsed=0m0s"

    def test_all_threads_wait_together(self, api, hub, time, events):
        hear(hub, api, SPENT["RateLimit"])
        began = threading.Barrier(8)

        def work() -> None:
            time.now()
            began.wait(60)
            api.repo_info(REPO)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert time.now() == 55
        assert events  # a thread that comes when another one has waited need not wait
        assert {type(event) for event in events} == {PaceEvent}
        assert hub.refusals == []

    def test_after_a_refusal_the_others_wait_and_are_not_refused(self, api, hub, time, events):
        quick = make_api(hub, events, max_retries=0)
        hub.answer(429, headers=SPENT, body={"error": "slow down"}, on="info")
        with pytest.raises(HfHubHTTPError):
            quick.repo_info(REPO)
        api.list_repo_refs(REPO)
        assert time.waits == [55]
        assert len(hub.refusals) == 1

    def test_the_refused_request_itself_waits_once(self, api, hub, time, events):
        hub.answer(429, headers=SPENT, body={"error": "slow down"}, on="info")
        api.repo_info(REPO)
        assert time.waits == [55]
        assert [type(event) for event in events] == [ThrottleEvent]

    def test_it_waits_once_where_sleeping_moves_no_clock(self, local_hub, monkeypatch, events):
        HfApi(endpoint=local_hub.url, token="hf_x").create_repo(REPO)
        slept: list = []
        monkeypatch.setattr("time.sleep", slept.append)
        api = make_api(local_hub, events)
        monkeypatch.setattr(buckets, "current", type(buckets.current)(Buckets))
        local_hub.answer(429, headers=SPENT, body={"error": "slow down"}, on="info")
        api.repo_info(REPO)
        assert slept == [pytest.approx(55)]

    def test_a_commit_waits_before_it_is_sent(self, api, hub, time, events):
        hub.answer(200, headers=SPENT, body={"files": [REGULAR]}, on="preupload")
        api.create_commit(REPO, [CommitOperationAdd("a.txt", b"a")], commit_message="Add")
        assert time.waits == [55]
        assert [(event.reason, event.repo_id) for event in events] == [("api", REPO)]
        assert hub.refusals == []

    def test_inside_everywhere_the_requests_of_others_wait(self, api, hub, time):
        theirs = HfApi(endpoint=hub.url, token="hf_x")
        with api.everywhere():
            hear(hub, theirs, SPENT["RateLimit"])
            theirs.repo_info(REPO)
        assert time.waits == [55]

    def test_a_download_waits_for_its_own_bucket(self, api, hub, time, events, tmp_path):
        api.create_commit(REPO, [CommitOperationAdd("a.txt", b"a")], commit_message="Add")
        hear(hub, api, '"resolvers";r=0;t=9')
        api.repo_info(REPO)
        assert time.waits == []
        api.hf_hub_download(REPO, "a.txt", cache_dir=tmp_path)
        assert time.waits == [9]
        assert [event.reason for event in events] == ["resolvers"]

    def test_a_spent_api_bucket_does_not_hold_up_downloads(self, api, hub, time, tmp_path):
        api.create_commit(REPO, [CommitOperationAdd("a.txt", b"a")], commit_message="Add")
        hear(hub, api, SPENT["RateLimit"])
        api.hf_hub_download(REPO, "a.txt", cache_dir=tmp_path)
        assert time.waits == []

    def test_a_refused_whoami_holds_up_nothing_else(self, api, hub, time, events):
        quick = make_api(hub, events, max_retries=0)
        hub.answer(429, headers=SPENT, body={"error": "strict"}, on="whoami")
        with pytest.raises(HfHubHTTPError):
            quick.whoami()
        api.repo_info(REPO)
        assert time.waits == []
        api.whoami()
        assert time.waits == [55]
        assert events[-1].reason == "whoami"

    def test_whoami_waits_for_the_api_bucket_as_well(self, api, hub, time):
        hear(hub, api, SPENT["RateLimit"])
        api.whoami()
        assert time.waits == [55]

    def test_another_token_does_not_wait(self, api, hub, time, events):
        hear(hub, api, SPENT["RateLimit"])
        make_api(hub, events, token="hf_y").repo_info(REPO)
        assert time.waits == []
        make_api(hub, events).repo_info(REPO)  # another object with the same token
        assert time.waits == [55]

    def test_another_hub_is_not_waited_for(self, api, hub, time, events):
        from mat_vis_hub.local_hub import LocalHub

        with LocalHub() as other:
            HfApi(endpoint=other.url, token="hf_x").create_repo(REPO)
            hear(hub, api, SPENT["RateLimit"])
            make_api(other, events).repo_info(REPO)
        assert time.waits == []

    def test_requests_of_a_plain_object_do_not_wait(self, api, hub, time):
        hear(hub, api, SPENT["RateLimit"])
        HfApi(endpoint=hub.url, token="hf_x").repo_info(REPO)
        assert time.waits == []


REGULAR = {"path": "a.txt", "uploadMode": "regular", "shouldIgnore": False}


class TestLimits:
    @pytest.mark.parametrize("policy", [{"max_total_wait": 50}, {"max_retries": 0}], ids=str)
    def test_a_wait_that_the_policy_does_not_allow_is_not_begun(self, hub, time, events, policy):
        api = make_api(hub, events, **policy)
        hear(hub, api, SPENT["RateLimit"])
        api.repo_info(REPO)
        assert (time.waits, events) == ([], [])

    @pytest.mark.parametrize("header", ['"api";r=0;t=1000000000', '"api";r=0;t=0', '"api";r=0', '"api";r=0;t=-5', ""])
    def test_what_no_bucket_can_mean_is_not_waited_for(self, api, hub, time, header):
        hear(hub, api, header)
        api.repo_info(REPO)
        assert time.waits == []

    def test_it_is_forgotten_when_the_bucket_is_refilled(self, api, hub, time):
        hear(hub, api, SPENT["RateLimit"])
        time.advance(55)
        api.repo_info(REPO)
        assert time.waits == []
        assert not buckets.current.value

    def test_a_later_word_replaces_an_earlier_one(self, hub, time, events):
        hear(hub, make_api(hub, events, max_retries=0), '"api";r=0;t=300')
        hear(hub, make_api(hub, events, max_retries=0), '"api";r=0;t=5')
        make_api(hub, events).repo_info(REPO)
        assert time.waits == [5]

    def test_a_later_word_that_something_is_left_ends_the_wait_of_the_next(self, hub, time, events):
        quick = make_api(hub, events, max_retries=0)
        hear(hub, quick, SPENT["RateLimit"])
        hear(hub, quick, '"api";r=10;t=20')
        make_api(hub, events).repo_info(REPO)
        assert time.waits == []


class TestMemory:
    def test_a_response_that_was_overtaken_does_not_count(self, time):
        known = Buckets()
        before = known.words
        known.read('"api";r=0;t=55', HERE, before)
        known.read('"api";r=1;t=55', HERE, before)  # sent earlier, and arrived later
        spent = known.spent(HERE, ["api"])
        assert spent is not None
        assert spent.until == 55
        known.read('"api";r=1;t=55', HERE, known.words)
        assert known.spent(HERE, ["api"]) is None

    def test_the_bucket_that_is_refilled_last_is_the_one_to_wait_for(self, time):
        known = Buckets()
        known.read('"api";r=0;t=20, "whoami";r=0;t=10', HERE, 0)
        spent = known.spent(HERE, ["whoami", "api"])
        assert spent is not None
        assert (spent.name, spent.until) == ("api", 20)
        assert known.spent(HERE, ["resolvers"]) is None

    def test_their_number_is_bounded(self, time):
        known = Buckets()
        for number in range(5000):
            known.read('"api";r=0;t=300', Account("https://huggingface.co", number), number)
        assert len(known._spent) <= 1000
        assert known.spent(Account("https://huggingface.co", 4999), ["api"])

    def test_no_token_is_kept(self, api, hub):
        hear(hub, api, SPENT["RateLimit"])
        assert buckets.current.value
        assert "hf_x" not in repr(vars(buckets.current.value))

    def test_virtual_time_begins_without_them(self, time):
        buckets.current.value.read('"api";r=0;t=55', HERE, 0)
        with virtual_time():
            assert not buckets.current.value
        assert buckets.current.value

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_forked_process_begins_without_them(self, time):
        buckets.current.value.read('"api";r=0;t=55', HERE, 0)
        child = os.fork()
        if child == 0:
            os._exit(1 if buckets.current.value else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_a_header_is_read_only_where_something_is_or_was_spent(self, api, hub, time, monkeypatch):
        def read(*args) -> None:
            raise AssertionError("read")

        monkeypatch.setattr(buckets.Buckets, "read", read)
        api.repo_info(REPO)
        assert "mat_vis_hub.buckets" in sys.modules


def test_what_a_redirected_download_says_is_remembered(api, hub, time):
    """A download is answered by the Hub with a redirect, and then by the storage, which knows no buckets."""
    from types import SimpleNamespace

    from mat_vis_hub import transport
    from mat_vis_hub._hub.routes import route_of

    url = f"{hub.url}/{REPO}/resolve/main/a.bin"
    redirect = SimpleNamespace(url=url, headers={"RateLimit": '"resolvers";r=0;t=7'}, history=())
    content = SimpleNamespace(
        url="https://cdn.example.com/x", headers={"RateLimit": '"resolvers";r=3;t=7'}, history=[redirect]
    )
    request = SimpleNamespace(url=url, method="GET", headers={})
    sending = transport._Request(lambda request: content, request, api, route_of("GET", url))
    assert sending.send() is content
    assert time.waits == []
    assert sending.send() is content
    assert time.waits == [7]
