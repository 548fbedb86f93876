"""A budget without a server: writers that share nothing but the repository's history, on a Hub on this machine."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.interrupt import Waits
from mat_vis_hub.budget import BudgetError, FailOpenBudget, Reservation
from mat_vis_hub.budget.hub import HubBudget, ages
from mat_vis_hub.hooks import Hooks
from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.local_hub.limiter import MODELS
from mat_vis_hub.retry_after import Cooldown
from mat_vis_hub.testing import virtual_time
from mat_vis_hub.throttle import Target, Throttle

pytestmark = pytest.mark.local_hub(commit_time=0)  # what is counted here is when commits are sent

REPO = "you/textures"
HOUR = 3600.0


@pytest.fixture
def time():
    with virtual_time() as time:
        yield time


@pytest.fixture
def hub(local_hub, time):
    HfApi(endpoint=local_hub.url, token="hf_x").create_repo(REPO)
    return local_hub


class Job:
    """A process on a machine of its own: it has its own count and its own gate, and shares only the Hub."""

    names, numbers = itertools.count(), itertools.count()

    def __init__(self, hub: LocalHub, **options) -> None:
        self.hub = hub
        # An endpoint of its own gives it a gate of its own.
        self.repository = Repository(f"{hub.url}/job-{next(self.numbers)}", "model", REPO)
        self.api = HfApi(endpoint=hub.url, token="hf_x")
        self.budget = HubBudget(lambda repository: self.api, **options)

    def commit(self, **kwargs):
        """Straight to the Hub, without the budget."""
        operations = [CommitOperationAdd(f"{next(self.names)}.txt", b"")]
        return self.api.create_commit(REPO, operations, commit_message="m", **kwargs)

    def reserve(self):
        return self.budget.reserve(self.repository)

    def paced(self, **kwargs) -> None:
        """As a throttled commit goes: a reservation, its wait, the commit, and all of that again after a refusal."""
        policy = RetryPolicy(max_retries=50, max_total_wait=1e6)
        budget = FailOpenBudget(self.budget)
        caller = SimpleNamespace(source="job", retry=policy, hooks=Hooks([]), budget=budget, waits=Waits())
        Throttle(caller, Target(self.repository, "main", "job")).commit(lambda: self.commit(**kwargs))

    @property
    def used(self) -> int:
        return self.budget.status(self.repository).used


def run(writers: list[Callable[[], object]]) -> None:
    """All at once. An exception of any is raised."""
    with ThreadPoolExecutor(len(writers)) as pool:
        for future in [pool.submit(writer) for writer in writers]:
            future.result(timeout=60)


def requested(hub: LocalHub, *endpoints: str) -> list[int]:
    """How many requests there were for each of these."""
    return [sum(request.endpoint == endpoint for request in hub.requests) for endpoint in endpoints]


def looks(hub: LocalHub) -> int:
    """Requests of the budget so far: for the branches, and for a page of the history."""
    return sum(requested(hub, "refs", "history"))


def commit_to(api: HfApi, **kwargs) -> None:
    api.create_commit(REPO, [CommitOperationAdd(f"{next(Job.names)}.txt", b"")], commit_message="m", **kwargs)


class TestOthersCommits:
    def test_made_before_we_began_are_counted(self, hub, time):
        other = Job(hub)
        for _ in range(3):
            other.commit()
        time.advance(60)
        reservation = Job(hub, limit=3).reserve()
        assert (reservation.used, reservation.limit, reservation.reason) == (3, 3, "budget")
        assert HOUR - 60 <= reservation.wait <= 1.01 * HOUR - 58

    def test_do_not_count_once_the_window_has_passed(self, hub, time):
        Job(hub).commit()
        time.advance(HOUR + 2)
        assert Job(hub).used == 0

    def test_the_commit_that_made_the_repository_does_not_count(self, hub):
        assert Job(hub).used == 0

    @pytest.mark.local_hub(limit=8)
    def test_two_that_take_turns_are_never_refused(self, hub, time):
        one, two = Job(hub, limit=8), Job(hub, limit=8)
        for _ in range(16):
            one.paced()
            two.paced()
        assert hub.refusals == []
        assert 3 * HOUR <= time.now() <= 1.05 * 3 * HOUR  # the optimum: 8 at once, and 8 after each hour

    def test_made_while_we_wait_for_a_reservation_prolong_the_wait(self, hub, time):
        job, other = Job(hub, limit=2), Job(hub)
        job.paced()
        time.advance(1000)
        job.paced()
        reservation = job.reserve()
        time.advance(reservation.wait)
        other.commit()
        reservation = job.budget.renew(job.repository, reservation)
        assert 900 < reservation.wait < 1040  # until the second of ours has left
        time.advance(reservation.wait)
        assert job.budget.renew(job.repository, reservation).wait == 0


class TestBranches:
    def test_all_count_and_what_they_share_counts_once(self, hub):
        other, job = Job(hub), Job(hub)
        other.commit()
        for name in ("v2026.04.1", "v2026.04.2"):
            other.api.create_branch(REPO, branch=name)
        other.commit(revision="v2026.04.2")
        assert job.used == 2
        assert requested(hub, "refs", "history") == [1, 2]  # v2026.04.1 is where main is

    def test_pull_requests_count_as_well(self, hub):
        other, job = Job(hub), Job(hub)
        info = other.commit(create_pr=True)
        other.commit(revision=info.pr_revision)
        assert job.used == 2

    def test_a_later_look_reads_those_that_have_moved(self, hub, time):
        other, job = Job(hub), Job(hub)
        for number in range(10):
            other.api.create_branch(REPO, branch=f"v{number}")
            other.commit(revision=f"v{number}")
        assert job.used == 10
        before = requested(hub, "refs", "history")
        time.advance(1000)
        assert job.used == 10
        other.commit(revision="v7")
        other.api.create_branch(REPO, branch="as-main")
        time.advance(1000)
        assert job.used == 11
        assert requested(hub, "refs", "history") == [before[0] + 2, before[1] + 1]

    def test_one_that_is_deleted_goes_on_counting(self, hub, time):
        other, job = Job(hub), Job(hub)
        other.api.create_branch(REPO, branch="short-lived")
        other.commit(revision="short-lived")
        assert job.used == 1
        other.api.delete_branch(REPO, branch="short-lived")
        time.advance(1000)
        assert job.used == 1

    @pytest.mark.local_hub(limit=None, pull_request_limit=None)
    def test_of_very_many_the_first_look_reads_the_likeliest_and_later_ones_all_that_move(self, hub, time):
        other, job = Job(hub), Job(hub)
        for number in range(20):
            other.api.create_branch(REPO, branch=f"v{number:02}")
            other.commit(revision=f"v{number:02}")
            other.commit(create_pr=True)
        assert job.used == 29
        assert requested(hub, "refs", "history") == [1, 30]  # main, the last 15 branches, the last 14 pull requests
        other.commit(revision="v00")
        time.advance(1000)
        assert job.used == 31  # the whole branch
        assert requested(hub, "refs", "history") == [2, 31]

    def test_our_own_commits_count_wherever_they_went(self, hub, time):
        job = Job(hub, limit=3)
        for _ in range(3):
            job.paced(create_pr=True)
            time.advance(10)
        time.advance(1000)
        assert job.used == 3
        assert job.reserve().wait > 0


class TestToken:
    """Only the token of the call may read the history."""

    pytestmark = pytest.mark.local_hub(token="hf_of_the_call", limit=8)

    @pytest.fixture
    def private(self, local_hub, time):
        api = HfApi(endpoint=local_hub.url, token="hf_of_the_call")
        api.create_repo(REPO, private=True)
        for _ in range(7):
            commit_to(api)
        return local_hub

    @pytest.mark.parametrize("url", ["hub://?limit=8&strict=1", "memory://?limit=8&strict=1&seed=hub"])
    @pytest.mark.parametrize("how", ["argument", "everywhere", "turn"])
    def test_of_the_call_reads_the_history(self, private, time, how, url):
        api = ThrottledHfApi(endpoint=private.url, token=False, budget=url, hooks=[])
        for _ in range(2):
            if how == "argument":
                commit_to(api, token="hf_of_the_call")
            elif how == "everywhere":
                with api.everywhere():
                    commit_to(HfApi(endpoint=private.url, token="hf_of_the_call"))
            else:
                with api.turn(REPO, token="hf_of_the_call"):
                    commit_to(api, token="hf_of_the_call")
        assert private.refusals == []
        assert len(private.commits) == 9
        assert time.now() > 3500  # the eighth at once, the ninth when there was room

    def test_of_the_object_reads_it_otherwise(self, private):
        api = ThrottledHfApi(endpoint=private.url, token="hf_of_the_call", budget="hub://?limit=8&strict=1", hooks=[])
        assert api.budget_status(REPO).used == 7
        with pytest.raises(BudgetError, match="cannot be read"):
            ThrottledHfApi(endpoint=private.url, token=False, budget="hub://").budget_status(REPO)


class TestRaces:
    @pytest.mark.local_hub(limit=8)
    def test_two_that_read_it_at_the_same_moment_fall_back_on_a_refusal(self, hub, time):
        one, two = Job(hub, limit=8), Job(hub, limit=8)
        for _ in range(7):
            one.paced()
        reservations = [one.reserve(), two.reserve()]
        assert [reservation.wait for reservation in reservations] == [0, 0]  # there is room for one
        one.commit()
        with pytest.raises(HfHubHTTPError, match="429"):
            two.commit()
        two.budget.refused(two.repository, reservations[1], Cooldown(1000, 8, HOUR))
        reservation = two.reserve()
        assert (reservation.wait, reservation.reason) == (1000, "refused")
        time.advance(1000)
        assert two.budget.renew(two.repository, reservation).wait > 2500  # it has read the history: all eight

    @pytest.mark.parametrize(
        "model",
        [pytest.param(model, marks=pytest.mark.local_hub(limit=8, model=model, commit_time=0)) for model in MODELS],
    )
    def test_writers_that_commit_as_fast_as_they_can_all_get_through(self, hub, model):
        """Three jobs of two threads each, eight commits per window, nothing shared but the history."""
        jobs = [Job(hub, limit=8) for _ in range(3)]
        run([lambda job=job: [job.paced() for _ in range(5)] for job in jobs * 2])
        assert len(hub.commits) == 30
        assert len(hub.refusals) <= 15  # without a budget: most of what was sent


class TestWhatItCosts:
    def test_a_run_of_128_commits_alone(self, hub, time):
        job = Job(hub)
        for _ in range(128):
            job.paced()
            time.advance(2)
        assert hub.refusals == []
        assert job.used == 128
        assert looks(hub) <= 40  # next to two requests for each commit, of 1,000 per five minutes

    @pytest.mark.local_hub(limit=None)
    def test_only_as_many_pages_as_the_window_needs(self, hub, time):
        other = Job(hub)
        for _ in range(120):
            other.commit()
        time.advance(2 * HOUR)
        for _ in range(60):
            other.commit()
        job = Job(hub)
        assert job.used == 60
        assert requested(hub, "refs", "history") == [1, 2]

    @pytest.mark.local_hub(limit=None)
    def test_a_later_look_reads_only_what_is_new(self, hub, time):
        other, job = Job(hub), Job(hub)
        for _ in range(120):
            other.commit()
        assert job.used == 120
        before = looks(hub)
        time.advance(1000)
        other.commit()
        assert job.used == 121
        assert looks(hub) == before + 2

    def test_nothing_while_the_window_is_full(self, hub, time):
        job = Job(hub, limit=2)
        job.paced()
        job.paced()
        before = looks(hub)
        for _ in range(10):
            assert job.reserve().wait > 0
        assert looks(hub) == before


class TestThreadsOfOneProcess:
    @pytest.mark.local_hub(limit=16)
    def test_alone_are_never_refused(self, hub, time):
        job = Job(hub, limit=16)
        run([lambda: [job.paced() for _ in range(4)]] * 8)
        assert len(hub.commits) == 32
        assert hub.refusals == []


class TestRefused:
    def test_closes_and_corrects_the_quota(self, hub, time):
        job = Job(hub)
        job.budget.refused(job.repository, job.reserve(), Cooldown(600, 256, HOUR / 2))
        reservation = job.reserve()
        assert (reservation.wait, reservation.limit, reservation.reason) == (600, 256, "refused")
        status = job.budget.status(job.repository)
        assert (status.used, status.limit, status.window) == (1, 256, HOUR / 2)  # the reservation just taken

    def test_a_longer_window_is_looked_at_whole(self, hub, time):
        job, other = Job(hub), Job(hub)
        other.commit()
        time.advance(1.5 * HOUR)
        other.commit()
        assert job.used == 1
        job.budget.refused(job.repository, None, Cooldown(0, None, 24 * HOUR))
        assert job.used == 2


class TestWhenTheHistoryCannotBeRead:
    def test_of_a_repository_yet_to_be_made_nothing_counts(self, local_hub, time):
        assert Job(local_hub).reserve().wait == 0

    def test_any_other_reason_raises_and_reserves_nothing(self, hub, time):
        job = Job(hub)
        for status in (401, 403, 500):
            hub.answer(status, on="history")
            with pytest.raises(BudgetError, match="cannot be read"):
                job.reserve()
        hub.answer(200, body={"error": "this is no history"}, on="history")
        with pytest.raises(BudgetError, match="cannot be read"):
            job.reserve()
        hub.drop(on="history")
        with pytest.raises(BudgetError, match=r"(?i)disconnect|aborted|closed|reset"):
            job.reserve()
        assert job.used == 0

    @pytest.mark.local_hub(limit=None)
    def test_halfway_through_it_starts_again(self, hub, time):
        other, job = Job(hub), Job(hub)
        for _ in range(60):
            other.commit()
        hub.answer(500, on="history", after=1)
        with pytest.raises(BudgetError):
            job.reserve()
        assert job.used == 60


class TestClocks:
    @pytest.mark.parametrize(
        "off",
        [
            pytest.param(off, marks=pytest.mark.local_hub(limit=8, clock=lambda off=off: clock.wall() + off))
            for off in (-3600, -30, 30, 3600)
        ],
    )
    def test_one_that_is_off_does_not_matter(self, hub, time, off):
        one, two = Job(hub, limit=8), Job(hub, limit=8)
        for _ in range(8):
            one.paced()
            two.paced()
        assert hub.refusals == []
        assert HOUR <= time.now() <= 1.02 * HOUR

    def test_one_that_jumps_does_not_matter(self, hub, time, monkeypatch):
        job = Job(hub, limit=1)
        job.paced()
        monkeypatch.setattr(time, "_wall", time._wall + 7200)
        assert HOUR <= job.reserve().wait <= 1.01 * HOUR


class TestLife:
    def test_a_copy_starts_with_the_history_and_nothing_else(self, hub):
        job = Job(hub, limit=5)
        job.paced()
        job.reserve()
        twin = copy.deepcopy(job.budget)
        assert job.used == 2
        assert twin.status(job.repository).used == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
    def test_a_fork_is_not_held_up_by_its_parent_s_locks(self, hub):
        job = Job(hub)
        job.reserve()
        with job.budget._window(job.repository) as window, window.lock:
            if (child := os.fork()) == 0:
                with job.budget._window(job.repository) as its_own:
                    free = its_own.lock.acquire(timeout=20)
                os._exit(0 if free else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class TestAges:
    def test_gives_the_ages_of_the_window_s_commits(self, hub, time):
        job = Job(hub)
        for _ in range(3):
            job.commit()
            time.advance(HOUR / 2)
        found = ages(lambda repository: job.api, HOUR)(job.repository)
        assert found == pytest.approx([HOUR / 2, HOUR], abs=2)

    def test_gives_none_for_a_repository_yet_to_be_made(self, local_hub, time):
        job = Job(local_hub)
        assert ages(lambda repository: job.api)(job.repository) == []


def test_repositories_whose_windows_are_over_are_dropped(hub, time):
    job = Job(hub)
    for number in range(100):
        job.budget.cancel(job.repository._replace(repo_id=f"you/{number}"), Reservation("x", 0.0, 0, 128))
    assert len(job.budget._windows.value) <= 4
