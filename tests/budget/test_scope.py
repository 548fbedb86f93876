"""Whose quota a budget counts: a repository's, an owner's or a token's, the same wherever the count is kept."""

from __future__ import annotations

import copy
import pickle
import sqlite3
from contextlib import closing
from functools import partial
from itertools import cycle

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from mat_vis_hub import RetryPolicy, ThrottledHfApi
from mat_vis_hub.budget import BudgetError, Reservation
from mat_vis_hub.budget.scope import Surprises, name_of
from mat_vis_hub.gate import current as gates
from mat_vis_hub.local_hub import LocalHub
from mat_vis_hub.retry_after import Cooldown
from tests.budget.conftest import REPOSITORY as HERE
from tests.clients import BaseClient, factory_set_to

ELSEWHERE = HERE._replace(repo_type="model", repo_id="You/others")
HOUR = 3600.0
ONE, TWO = "hf_" + "1" * 34, "hf_" + "2" * 34


def goes_at_once(budget, repository=HERE) -> bool:
    return budget.reserve(repository).wait == 0


class TestCount:
    def test_of_an_owner_is_that_of_all_its_repositories(self, place):
        budget = place.budget(limit=2, window=60, scope="owner")
        assert [goes_at_once(budget, each) for each in (HERE, ELSEWHERE, HERE, ELSEWHERE)] == [True, True, False, False]
        assert goes_at_once(budget, HERE._replace(repo_id="youth/textures"))
        assert goes_at_once(budget, HERE._replace(endpoint="http://127.0.0.1:1"))
        assert budget.status(ELSEWHERE).used == budget.status(HERE._replace(repo_id="you/new")).used == 4

    def test_of_an_owner_leaves_a_repository_without_one_alone(self, place):
        budget = place.budget(limit=1, window=60, scope="owner")
        assert goes_at_once(budget, HERE._replace(repo_id="gpt2"))
        assert goes_at_once(budget, HERE._replace(repo_id="bert"))

    def test_of_a_token_is_that_of_all_its_commits_to_one_hub(self, place):
        budget = place.budget(limit=2, window=60, scope="token")
        one, two = budget.with_token(ONE), budget.with_token(TWO)
        other = HERE._replace(repo_id="others/textures")
        assert [goes_at_once(one, each) for each in (HERE, other, HERE)] == [True, True, False]
        assert goes_at_once(two)
        assert goes_at_once(one, HERE._replace(endpoint="http://127.0.0.1:1"))
        assert [each.status(HERE).used for each in (one, two)] == [3, 1]

    def test_is_shared_by_budgets_with_the_same_scope_and_apart_from_those_with_another_one(self, place):
        for scope in ("repo", "owner", "token"):
            one, two = (place.budget(limit=1, window=60, scope=scope).with_token(ONE) for _ in range(2))
            assert goes_at_once(one)
            assert not goes_at_once(two)

    def test_takes_a_whole_commit(self, place):
        budget = place.budget(limit=1, window=60, scope="owner")
        first, second = budget.reserve(HERE), budget.reserve(ELSEWHERE)
        place.passes(10)
        budget.confirm(HERE, first)
        place.passes(51)
        second = budget.renew(ELSEWHERE, second)
        assert 8 < second.wait < 10
        budget.cancel(ELSEWHERE, second)
        place.passes(10)
        assert goes_at_once(budget)

    def test_is_closed_as_a_whole_by_a_refusal(self, place):
        budget = place.budget(limit=9, window=60, scope="owner")
        budget.refused(HERE, budget.reserve(HERE), Cooldown(100))
        reservation = budget.reserve(ELSEWHERE)
        assert (round(reservation.wait), reservation.reason) == (100, "refused")


class TestToken:
    def test_that_huggingface_hub_would_send_is_the_one_that_counts(self, place, monkeypatch):
        budget = place.budget(limit=1, window=60, scope="token")
        monkeypatch.setenv("HF_TOKEN", ONE)
        assert goes_at_once(budget)
        assert not goes_at_once(budget.with_token(ONE))
        assert not goes_at_once(budget.with_token(True))
        assert goes_at_once(budget.with_token(TWO))
        assert goes_at_once(budget.with_token(False))

    def test_is_never_stored_nor_shown_but_a_hash_is(self, tmp_path, time, caplog):
        from mat_vis_hub.budget import from_url

        path = tmp_path / "budget.db"
        budget = from_url(f"sqlite:///{path}?scope=token&limit=2").with_token(ONE)
        budget.refused(HERE, budget.reserve(HERE), Cooldown(10, 2, HOUR))
        assert ONE not in repr(budget) + caplog.text
        budget.close()
        for file in tmp_path.iterdir():
            assert ONE.encode() not in file.read_bytes()
        with closing(sqlite3.connect(path)) as connection:
            ((name,),) = connection.execute("SELECT name FROM mat_vis_hub_v1_repositories")
        assert name == name_of(HERE, "token", ONE)

    def test_s_hash_is_the_same_in_every_process(self):
        name = "https://huggingface.co/tokens/0ab665e8ab62ae1d79631dd7c71f6dde"
        assert name_of(HERE, "token", ONE) == name
        assert name_of(HERE, "token", TWO) != name

    def test_makes_no_difference_to_a_count_of_a_repository(self, place):
        budget = place.budget(limit=1, window=60)
        assert budget.with_token(ONE) is budget

    def test_survives_a_copy_and_a_pickle(self, place):
        budget = place.budget(limit=1, window=60, scope="token")
        budget.now = None  # a function that does not pickle
        budget = budget.with_token(ONE)
        budget.reserve(HERE)
        for twin in (copy.deepcopy(budget), pickle.loads(pickle.dumps(budget))):
            assert twin.with_token(ONE).status(HERE).used == 1
            assert twin.with_token(TWO).status(HERE).used == 0
            twin.close()


USUAL = Cooldown(10.0, 8, HOUR)


def refuse(budget, repository=HERE, *, used=3, wait=0.0, cooldown=USUAL) -> None:
    """A commit that was reserved while so many were counted is refused."""
    for _ in range(used):
        budget.confirm(repository, budget.reserve(repository))
    reservation = budget.reserve(repository)
    budget.refused(repository, reservation._replace(wait=wait), cooldown)


class TestSurprise:
    """A refusal although the budget had room is explained in one line of the log."""

    @pytest.mark.parametrize(
        ("scope", "says"),
        [("repo", "try ?scope=owner or ?scope=token"), ("owner", "try ?scope=token"), ("token", "try ?scope=repo")],
    )
    def test_says_what_it_can_mean(self, place, caplog, scope, says):
        refuse(place.budget(limit=8, scope=scope).with_token(ONE))
        assert [record.name for record in caplog.records] == ["mat_vis_hub"]
        assert "refused a commit to you/textures although its budget counts 3 of 8 commits" in caplog.text
        assert "made without this budget" in caplog.text
        assert says in caplog.text

    def test_is_logged_once_per_window_and_count(self, place, caplog):
        budget = place.budget(limit=8)
        for _ in range(3):
            refuse(budget, used=0)
        assert len(caplog.records) == 1
        refuse(budget, ELSEWHERE, used=0)
        assert len(caplog.records) == 2
        place.passes(HOUR + 1)
        refuse(budget, used=0)
        assert len(caplog.records) == 3

    @pytest.mark.parametrize(
        "refusal",
        [
            pytest.param({"used": 8}, id="the window was full"),
            pytest.param({"cooldown": Cooldown(10.0, 3, HOUR)}, id="the quota is another one, and full"),
            pytest.param({"cooldown": Cooldown(10.0, 8, 24 * HOUR)}, id="the window is a longer one"),
            pytest.param({"cooldown": Cooldown(10.0)}, id="it may not be about commits"),
            pytest.param({"wait": 5.0}, id="it was sent too early"),
        ],
    )
    def test_is_none_if(self, place, caplog, refusal):
        refuse(place.budget(limit=9), **{"used": 3, **refusal})
        assert caplog.records == []

    def test_is_none_without_a_reservation(self, place, caplog):
        place.budget(limit=8).refused(HERE, None, USUAL)
        assert caplog.records == []

    def test_remembers_a_bounded_number_of_counts(self, time, caplog):
        surprises = Surprises(HOUR)
        for number in range(3000):
            surprises.report(str(number), HERE, Reservation("x", 0.0, 0, 8), Cooldown(1.0, 8), scope="repo")
        assert len(surprises._silent_until) <= 1000


# ---- at a Hub that counts like that -----------------------------------------------------------------------------


class Writers:
    """Objects of one process that commit to a local Hub, with one budget."""

    def __init__(self, hub: LocalHub, budget: str | None, **options) -> None:
        self.hub, self.number = hub, 0
        self.api = ThrottledHfApi(endpoint=hub.url, token=ONE, budget=budget, hooks=[], **options)
        for repo in ("you/a", "you/b"):
            HfApi(endpoint=hub.url, token=ONE).create_repo(repo)

    def commit(self, repo: str, *, api: HfApi | None = None, token: str | None = None) -> None:
        self.number += 1
        operations = [CommitOperationAdd(f"{self.number}.txt", b"")]
        (api or self.api).create_commit(repo, operations, commit_message="m", token=token)


def counts(scope: str, **options):
    """A parameter of a test: the local Hub counts four commits an hour like that."""
    mark = pytest.mark.local_hub(limit=4, quota_scope=scope, **options)
    return pytest.param(scope, marks=mark, id="-".join([scope, *options.values()]))


class TestAtTheHub:
    @pytest.mark.parametrize(
        "scope", [counts(scope, model=model) for scope in ("owner", "token") for model in ("fixed", "sliding")]
    )
    def test_two_repositories_share_the_quota_without_a_refusal(self, local_hub, scope, time):
        writers = Writers(local_hub, f"memory://?limit=4&scope={scope}")
        for repo, _ in zip(cycle(["you/a", "you/b"]), range(12)):
            writers.commit(repo)
        assert local_hub.refusals == []
        assert 2 * HOUR <= time.now() <= 1.05 * 2 * HOUR

    @pytest.mark.parametrize("scope", [counts("owner"), counts("token")])
    def test_a_budget_that_counts_repositories_is_refused_and_says_what_to_try(self, local_hub, scope, time, caplog):
        writers = Writers(local_hub, "memory://?limit=4")
        for repo, _ in zip(cycle(["you/a", "you/b"]), range(12)):
            writers.commit(repo)
        assert local_hub.refusals
        assert 1 <= len(caplog.records) <= 6  # two repositories, three windows
        assert f"?scope={scope}" in caplog.text

    @pytest.mark.local_hub(limit=4, quota_scope="owner")
    def test_a_hub_budget_explains_it_too(self, local_hub, time, caplog):
        writers = Writers(local_hub, "hub://?limit=4")
        for _ in range(4):
            writers.commit("you/a")
        writers.commit("you/b")
        assert "hub:// cannot count those; the other budgets can, with ?scope=owner" in caplog.text

    @pytest.mark.local_hub(limit=4, quota_scope="token")
    @pytest.mark.parametrize("how", ["argument", "everywhere", "object"])
    def test_the_token_is_the_one_of_the_call(self, local_hub, how, time):
        writers = Writers(local_hub, "memory://?limit=4&scope=token")
        other, twin = HfApi(endpoint=local_hub.url, token=TWO), copy.copy(writers.api)
        twin.token = TWO
        for number in range(8):
            if number % 2 == 0:
                writers.commit("you/a")
            elif how == "argument":
                writers.commit("you/b", token=TWO)
            elif how == "everywhere":
                with writers.api.everywhere():
                    writers.commit("you/b", api=other)
            else:
                writers.commit("you/b", api=twin)
        assert local_hub.refusals == []
        assert time.now() < 60  # both tokens' quotas were used, at once
        assert [writers.api.budget_status("you/x", token=token).used for token in (None, TWO)] == [4, 4]

    @pytest.mark.local_hub(limit=4, quota_scope="token")
    def test_a_client_of_the_user_s_own_counts_the_same_token(self, local_hub, time):
        def client():
            made = BaseClient()
            made.send = partial(getattr(BaseClient.send, "_mat_vis_hub_wrapped", BaseClient.send), made)
            return made

        writers = Writers(local_hub, "memory://?limit=4&scope=token")
        writers.commit("you/a")
        with factory_set_to(client):
            writers.commit("you/b")
        assert writers.api.budget_status("you/x").used == 2


class TestGate:
    def waited(self, local_hub: LocalHub, repo: str, scope: str) -> bool:
        """Whether a commit with such a budget waited before it was sent."""
        budget, paces = f"memory://?limit=99&scope={scope}", []
        api = ThrottledHfApi(endpoint=local_hub.url, token=ONE, budget=budget, hooks=[paces.append])
        api.create_commit(repo, [CommitOperationAdd(f"{scope}.txt", b"")], commit_message="m")
        return bool(paces)

    def test_of_all_repositories_of_the_owner_is_closed_by_a_refusal_even_if_the_budget_fails(
        self, local_hub, time, monkeypatch
    ):
        from mat_vis_hub.budget.memory import MemoryBudget

        writers = Writers(local_hub, "memory://?scope=owner", retry=RetryPolicy(max_retries=0))
        HfApi(endpoint=local_hub.url, token=ONE).create_repo("them/c")

        def down(self, *args):
            raise BudgetError("it is gone")

        monkeypatch.setattr(MemoryBudget, "decide", down)
        says = "You have exceeded the rate limit for repository commits (4 per hour). You can retry this action in"
        local_hub.answer(429, body={"error": f"{says} 10 minutes."}, on="commit")
        with pytest.raises(Exception, match="429"):
            writers.commit("you/a")
        assert not self.waited(local_hub, "them/c", "owner")
        assert not self.waited(local_hub, "you/b", "repo")
        assert time.now() < 60
        assert self.waited(local_hub, "you/b", "owner")
        assert 595 <= time.now() <= 700

    @pytest.mark.local_hub(limit=4, quota_scope="owner")
    def test_lets_each_repository_commit_at_the_same_moment(self, local_hub, time):
        """The Hub's lock is the repository's, and so is the permit."""
        writers = Writers(local_hub, "memory://?limit=4&scope=owner")
        with writers.api.turn("you/a"):
            writers.commit("you/b")
        assert len(local_hub.commits) == 1

    def test_opens_with_a_commit_that_lands(self, local_hub, time):
        writers = Writers(local_hub, "memory://?scope=owner")
        local_hub.answer(429, body={"error": "You have exceeded our hourly quotas for action: commit."}, on="commit")
        writers.commit("you/a")
        names = (
            name_of(HERE._replace(endpoint=local_hub.url), "owner"),
            HERE._replace(endpoint=local_hub.url, repo_id="you/a"),
        )
        assert [gates.value.of(name).reopens_at for name in names] == [float("-inf")] * 2
