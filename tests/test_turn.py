"""A turn: wait first, read then. Nobody else commits meanwhile, and nothing is held for ever."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import PaceEvent, RetryPolicy, ThrottledHfApi, ThrottleEvent, WaitCancelled, gate
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub.budget import FailOpenBudget, from_url
from mat_vis_hub.hooks import Hooks
from tests.refusals import commit_quota

REPO, OTHERS = "you/textures", "you/others"
names = itertools.count()


@pytest.fixture
def hub(local_hub, time):
    for repo_id in (REPO, OTHERS):
        HfApi(endpoint=local_hub.url, token="hf_x").create_repo(repo_id)
    return local_hub


@pytest.fixture
def api(hub, events) -> ThrottledHfApi:
    return ThrottledHfApi(
        endpoint=hub.url, token="hf_x", retry=RetryPolicy(jitter=0), budget="memory://?limit=8", hooks=[events.append]
    )


def commit(api: HfApi, message: str = "ours", repo_id: str = REPO, **kwargs):
    operations = [CommitOperationAdd(f"{next(names)}.txt", b"")]
    return api.create_commit(repo_id, operations, commit_message=message, **kwargs)


def messages(hub) -> list[str]:
    return [commit.message for commit in hub.commits]


def head(api: HfApi) -> str:
    return api.repo_info(REPO).sha


def used(api: ThrottledHfApi, repo_id: str = REPO) -> int:
    return api.budget_status(repo_id).used


def in_a_thread(job: Callable[[], object], *, until: Callable[[], object]) -> threading.Thread:
    """Start `job` in a thread, and return once `until` says so."""
    thread = threading.Thread(target=job)
    thread.start()
    while not until():
        thread.join(0.001)
        assert thread.is_alive()
    return thread


def waits_for_its_turn(hub, repo_id: str = REPO) -> Callable[[], object]:
    """Whether a commit waits for another one of this process."""
    its_gate = gate.current.value.of(Repository(hub.url, "model", repo_id))
    return lambda: its_gate._waiting


def join(thread: threading.Thread) -> None:
    thread.join(60)
    assert not thread.is_alive()


class TestOthersWait:
    def test_commits_of_other_threads_come_after_the_block(self, hub, api):
        with api.turn(REPO):
            parent = head(api)
            other = in_a_thread(lambda: commit(api, "theirs"), until=waits_for_its_turn(hub))
            commit(api, parent_commit=parent)
            commit(api)
        join(other)
        assert messages(hub) == ["ours", "ours", "theirs"]

    def test_a_second_turn_waits_as_well(self, hub, api):
        order = []

        def turn() -> None:
            with api.turn(REPO):
                order.append("theirs")

        with api.turn(REPO):
            other = in_a_thread(turn, until=waits_for_its_turn(hub))
            order.append("ours")
        join(other)
        assert order == ["ours", "theirs"]

    def test_commits_to_other_repositories_do_not(self, hub, api):
        with api.turn(REPO):
            other = threading.Thread(target=lambda: commit(api, "theirs", OTHERS))
            other.start()
            join(other)
        assert messages(hub) == ["theirs"]

    def test_an_exception_lets_them_go(self, hub, api):
        def fail() -> None:
            with api.turn(REPO):
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        other = threading.Thread(target=lambda: commit(api, "theirs"))
        other.start()
        join(other)
        assert used(api) == 1

    def test_without_a_budget(self, hub, events):
        api = ThrottledHfApi(endpoint=hub.url, token="hf_x", hooks=[events.append])
        with api.turn(REPO):
            other = in_a_thread(lambda: commit(api, "theirs"), until=waits_for_its_turn(hub))
            commit(api)
        join(other)
        assert messages(hub) == ["ours", "theirs"]


class TestReservation:
    def test_the_first_commit_uses_the_one_of_the_turn(self, api):
        with api.turn(REPO):
            assert used(api) == 1
            commit(api)
            assert used(api) == 1
            commit(api)
            assert used(api) == 2
        assert used(api) == 2

    def test_a_turn_without_a_commit_costs_no_slot(self, api):
        with api.turn(REPO):
            head(api)
        assert used(api) == 0

    def test_a_commit_that_certainly_failed_costs_none(self, api):
        with api.turn(REPO), pytest.raises(HfHubHTTPError):
            commit(api, parent_commit="0" * 40)
        assert used(api) == 0

    def test_the_wait_for_room_comes_before_the_block(self, api, time, events):
        api.budget = FailOpenBudget(from_url("memory://?limit=1&window=600"))
        commit(api)
        with api.turn(REPO):
            assert [type(event) for event in events] == [PaceEvent]
            began = time.now()
            assert began >= 600
            commit(api)
        assert len(time.waits) == 1
        with api.turn(REPO):
            commit(api)
            commit(api)  # for which there is no room
        assert len(time.waits) == 3

    def test_the_wait_for_a_refusal_comes_before_the_block(self, hub, api, events):
        hub.answer(429, body=commit_quota("1 minute").text, on="commit")
        with pytest.raises(HfHubHTTPError):
            commit(ThrottledHfApi(endpoint=hub.url, token="hf_x", retry=RetryPolicy(max_retries=0), hooks=[]))
        with api.turn(REPO):
            assert [event.reason for event in events] == ["gate"]
            commit(api)

    def test_a_refusal_in_the_block_is_waited_out(self, hub, api, events):
        with api.turn(REPO):
            hub.answer(429, body=commit_quota("1 minute").text, on="commit")
            other = in_a_thread(lambda: commit(api, "theirs"), until=waits_for_its_turn(hub))
            commit(api)
            assert messages(hub) == ["ours"]
        join(other)
        assert ThrottleEvent in [type(event) for event in events]
        assert used(api) == 2


class TestWhoseCommits:
    def test_module_level_functions_and_other_objects_in_this_thread(self, hub, api):
        """None of them would be counted otherwise: the turn cancels a reservation that was not used."""
        roads = [
            lambda: huggingface_hub.upload_file(path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=REPO),
            lambda: commit(HfApi(endpoint=hub.url, token="hf_x")),
            lambda: commit(ThrottledHfApi(endpoint=hub.url, token="hf_x", hooks=[])),
        ]
        for number, road in enumerate(roads, start=1):
            with api.turn(REPO):
                road()
            assert used(api) == number

    def test_a_refusal_of_a_module_level_function_is_waited_out(self, hub, api, events):
        hub.answer(429, body=commit_quota("1 minute").text, on="commit")
        with api.turn(REPO):
            huggingface_hub.upload_file(path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=REPO)
        assert [type(event) for event in events] == [ThrottleEvent]
        hub.answer(429, body=commit_quota("1 minute").text, on="commit")
        with pytest.raises(HfHubHTTPError):  # outside the block it is nobody's
            huggingface_hub.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=REPO)

    def test_inside_everywhere(self, hub, api):
        with api.everywhere(), api.turn(REPO):
            huggingface_hub.upload_file(path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=REPO)
            other = in_a_thread(
                lambda: huggingface_hub.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id=REPO),
                until=waits_for_its_turn(hub),
            )
            assert used(api) == 2  # the other one has its own
        join(other)
        assert len(hub.commits) == used(api) == 2

    def test_a_commit_to_another_repository_in_the_block_has_a_turn_of_its_own(self, hub, api):
        with api.turn(REPO):
            commit(api, "others", OTHERS)
            commit(api)
        assert (used(api), used(api, OTHERS)) == (1, 1)

    def test_background_commits_come_after_the_block(self, hub, api):
        with api.turn(REPO):
            future = commit(api, "future", run_as_future=True)
            while not waits_for_its_turn(hub)():
                assert not future.done()
            commit(api)
        future.result(60)
        assert messages(hub) == ["ours", "future"]

    def test_source_revision_and_token(self, api, events):
        api.budget = FailOpenBudget(from_url("memory://?limit=1&window=600"))
        commit(api)
        with api.turn(REPO, revision="v2026.04.2", token="hf_other", source="polyhaven"):
            pass
        (event,) = events
        assert (event.source, event.revision) == ("polyhaven", "v2026.04.2")


@pytest.mark.parametrize("arguments", [{"repo_id": "not/a/name"}, {"repo_type": "datasets"}], ids=repr)
def test_invalid_arguments_are_an_error_before_any_wait(api, arguments):
    with pytest.raises(ValueError, match=r"not/a/name|repo_type"), api.turn(**{"repo_id": REPO, **arguments}):
        pass
    assert used(api) == 0


class TestNesting:
    def test_a_turn_in_a_turn_changes_nothing(self, hub, api):
        with api.turn(REPO):
            with api.turn(REPO):
                commit(api)
            other = in_a_thread(lambda: commit(api, "theirs"), until=waits_for_its_turn(hub))
            commit(api)
        join(other)
        assert messages(hub) == ["ours", "ours", "theirs"]
        assert used(api) == 3

    def test_a_transaction_in_a_turn(self, hub, api):
        with api.turn(REPO):
            api.transact(REPO, lambda snapshot: [CommitOperationAdd("a.txt", b"a")], commit_message="ours")
            assert used(api) == 1

    def test_two_threads_that_want_what_the_other_holds_go_on_in_the_end(self, hub, api, monkeypatch):
        monkeypatch.setattr("mat_vis_hub.gate.LONGEST_COMMIT", 0.05)
        both_hold_one = threading.Barrier(2)

        def work(first: str, second: str) -> None:
            with api.turn(first):
                both_hold_one.wait(60)
                with api.turn(second):
                    commit(api, "inner", second)
                commit(api, "outer", first)

        threads = [threading.Thread(target=work, args=repos) for repos in ((REPO, OTHERS), (OTHERS, REPO))]
        for thread in threads:
            thread.start()
        for thread in threads:
            join(thread)
        assert sorted(messages(hub)) == ["inner", "inner", "outer", "outer"]


class TestHoldingItTooLong:
    def test_the_others_go_on_and_the_block_finds_out(self, hub, api, monkeypatch):
        monkeypatch.setattr("mat_vis_hub.gate.LONGEST_COMMIT", 0.05)
        with api.turn(REPO):
            parent = head(api)
            other = threading.Thread(target=lambda: commit(api, "theirs"))
            other.start()
            join(other)
            with pytest.raises(HfHubHTTPError, match="Please refresh and try again"):
                commit(api, parent_commit=parent)
            commit(api)
        assert messages(hub) == ["theirs", "ours"]
        commit(api)

    def test_a_commit_starts_the_time_anew(self, hub, api):
        with api.turn(REPO):
            permit = gate.current.value.of(Repository(hub.url, "model", REPO))._holder
            permit.active_since = began = permit.active_since - 1000
            commit(api)
            assert permit.active_since > began + 999


class TestCancelling:
    def test_a_turn_that_waits_can_be_called_off(self, hub, api):
        raised = []

        def wait() -> None:
            try:
                with api.turn(REPO):
                    raise AssertionError
            except WaitCancelled as error:
                raised.append(error)

        with api.turn(REPO):
            other = in_a_thread(wait, until=waits_for_its_turn(hub))
            api.cancel_waits()
            join(other)
        assert len(raised) == 1
        assert used(api) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_leaves_the_block_gives_nothing_of_its_parents_back(hub, api, tmp_path):
    api.budget = FailOpenBudget(from_url(f"sqlite:///{tmp_path}/budget.db"))
    with api.turn(REPO):
        child = 0
        try:
            with api.turn(OTHERS):
                child = os.fork()
        finally:
            if child == 0:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert used(api) == 1
        assert (tmp_path / "budget.db").exists()
        assert len(list(tmp_path.glob("*.lease"))) == 1


class Leasing:
    """A budget with room for two commits. Its lease is given after so many questions. It notes what it is asked."""

    strict = False

    def __init__(self, free_after: int = 0) -> None:
        self.asked: list[str] = []
        self._budget = from_url("memory://?limit=2&window=600")
        self._free_after = free_after

    def __getattr__(self, name: str):
        if name not in ("reserve", "renew", "confirm", "cancel", "refused", "status", "close"):
            raise AttributeError(name)

        def method(*arguments):
            self.asked.append(name)
            return getattr(self._budget, name)(*arguments)

        return method

    def lease(self, repository):
        return self

    def acquire(self) -> bool:
        self.asked.append("acquire")
        return self.asked.count("acquire") > self._free_after

    def release(self) -> None:
        self.asked.append("release")

    def saw(self, repository, revision) -> None: ...


class TestLease:
    @pytest.fixture
    def budget(self, api) -> Leasing:
        budget = Leasing()
        api.budget = FailOpenBudget(budget)
        return budget

    def test_it_is_held_for_the_request_alone(self, api, budget):
        commit(api)
        assert budget.asked == ["reserve", "acquire", "release", "confirm"]

    def test_it_is_not_held_while_a_refusal_is_waited_out(self, hub, api, budget):
        hub.answer(429, body=commit_quota("1 minute").text, on="commit")
        api.hooks = Hooks([lambda event: budget.asked.append("waits")])
        commit(api)
        assert budget.asked == [
            *("reserve", "acquire", "release", "refused"),
            "waits",
            *("reserve", "acquire", "release", "confirm"),
        ]

    def test_a_block_holds_it_between_its_commits(self, api, budget):
        with api.turn(REPO):
            commit(api)
            commit(api)
        assert budget.asked == [
            *("reserve", "acquire", "acquire", "confirm"),
            *("reserve", "acquire", "confirm"),
            "release",
        ]

    def test_a_block_does_not_hold_it_while_it_waits_for_room(self, api, budget):
        with api.turn(REPO):
            commit(api)
            commit(api)
            del budget.asked[:]
            commit(api)
        assert budget.asked == ["reserve", "release", "renew", "acquire", "confirm", "release"]

    def test_a_commit_that_fails_gives_it_back(self, api, budget):
        with pytest.raises(HfHubHTTPError):
            commit(api, parent_commit="0" * 40)
        assert budget.asked == ["reserve", "acquire", "release", "cancel"]

    def test_a_long_wait_is_emitted_once(self, api, budget, events, monkeypatch):
        monkeypatch.setattr("mat_vis_hub.throttle._SHORT_TURN", 0.0)
        budget._free_after = 5
        commit(api)
        (event,) = events
        assert event.line.startswith("bake_pace source=unknown repo=you/textures reason=turn wait_s=75.0 ")
        assert budget.asked.count("acquire") == 6

    def test_a_short_one_is_not(self, api, budget, events, monkeypatch):
        monkeypatch.setattr("mat_vis_hub.throttle._SHORT_TURN", 1e9)
        budget._free_after = 5
        commit(api)
        assert events == []

    def test_a_policy_that_never_waits_goes_without(self, hub, api, budget):
        budget._free_after = 10**9
        api.retry = RetryPolicy(max_retries=0)
        commit(api)
        assert messages(hub) == ["ours"]

    def test_the_wait_can_be_called_off(self, hub, api, budget):
        budget._free_after = 10**9
        raised = []

        def wait() -> None:
            try:
                commit(api)
            except WaitCancelled as error:
                raised.append(error)

        other = in_a_thread(wait, until=lambda: "acquire" in budget.asked)
        api.cancel_waits()
        join(other)
        assert len(raised) == 1
        assert budget.asked[-2:] == ["release", "cancel"]
        assert messages(hub) == []

    def test_a_hook_may_commit_while_its_commit_waits_for_it(self, hub, api, monkeypatch, tmp_path):
        monkeypatch.setattr("mat_vis_hub.throttle._SHORT_TURN", 0.0)
        url = f"sqlite:///{tmp_path}/budget.db"
        other_process = from_url(url).lease(Repository(hub.url, "model", REPO))
        assert other_process.acquire()

        def hook(event) -> None:
            commit(api, "from the hook")
            other_process.release()

        api.budget = FailOpenBudget(from_url(url))
        api.hooks = Hooks([hook])
        commit(api)
        assert messages(hub) == ["from the hook", "ours"]

    def test_a_budget_without_one_works(self, hub, api, monkeypatch):
        monkeypatch.delattr(Leasing, "lease")
        monkeypatch.delattr(Leasing, "__getattr__")
        budget = Leasing()
        for name in ("reserve", "renew", "confirm", "cancel", "refused", "status", "close"):
            setattr(budget, name, getattr(budget._budget, name))
        api.budget = FailOpenBudget(budget)
        commit(api)
        assert budget.asked == []
        assert used(api) == 1
