"""Commits go ahead without a budget that fails. That is logged once, and the budget is tried again."""

from __future__ import annotations

import pytest

from mat_vis_hub.budget import BudgetError, FailOpenBudget, Reservation, as_budget, from_url
from mat_vis_hub.retry_after import Cooldown
from tests.budget.conftest import REPOSITORY as HERE
from tests.budget.servers import free_port


class Flaky:
    """A budget that fails while `down`, and counts how often it was asked."""

    def __init__(self) -> None:
        self.budget = from_url("memory://?limit=1&window=3600")
        self.down = False
        self.error: Exception = BudgetError("The budget redis://cache cannot be used: it is gone.")
        self.strict = False
        self.asked = 0

    def __getattr__(self, name):
        def method(*args):
            self.asked += 1
            if self.down:
                raise self.error
            return getattr(self.budget, name)(*args)

        return method


@pytest.fixture
def flaky(time):
    return Flaky()


@pytest.fixture
def guarded(flaky):
    return FailOpenBudget(flaky)


def commit(budget, repository=HERE) -> float:
    """What a commit asks of its budget; returns how long it is to wait."""
    reservation = budget.reserve(repository)
    if reservation.wait:
        reservation = budget.renew(repository, reservation)
    budget.confirm(repository, reservation)
    budget.cancel(repository, reservation)
    budget.refused(repository, reservation, Cooldown(0.0))
    return reservation.wait


def test_a_budget_that_works_is_used(guarded, flaky):
    assert guarded.reserve(HERE).wait == 0
    assert guarded.reserve(HERE).wait > 0
    assert guarded.status(HERE).used == 2
    assert flaky.asked == 3


@pytest.mark.parametrize("error", [BudgetError("it is gone"), OSError("it is gone"), Exception("it is gone")])
def test_while_it_fails_nothing_raises_or_waits_and_there_is_one_warning(guarded, flaky, time, caplog, error):
    flaky.down, flaky.error = True, error
    for _ in range(20):
        assert commit(guarded) == 0
        time.advance(10)
    assert [record.name for record in caplog.records] == ["mat_vis_hub"]
    assert "it is gone" in caplog.text
    assert flaky.asked == 7  # in 200 seconds, every 30


def test_it_is_tried_again_and_counts_when_it_works_again(guarded, flaky, time, caplog):
    flaky.down = True
    commit(guarded)
    flaky.down = False
    assert guarded.reserve(HERE).wait == 0
    assert flaky.asked == 1
    time.advance(30)
    assert guarded.reserve(HERE).wait == 0
    assert guarded.reserve(HERE).wait > 0
    assert "works again" in caplog.text


def test_a_budget_whose_other_methods_work_is_still_down(guarded, flaky, time, caplog, monkeypatch):
    def down(repository):
        raise BudgetError("The history cannot be read.")

    monkeypatch.setattr(flaky, "reserve", down, raising=False)
    for _ in range(10):
        commit(guarded)
        time.advance(31)
    assert len(caplog.records) == 1


def test_a_commit_that_began_without_the_budget_is_counted_if_it_works_by_then(guarded, flaky, time):
    flaky.down = True
    reservation = guarded.reserve(HERE)
    flaky.down = False
    time.advance(30)
    guarded.confirm(HERE, reservation)
    assert guarded.reserve(HERE).wait > 0


def test_status_raises_what_is_wrong(guarded, flaky):
    flaky.down = True
    with pytest.raises(BudgetError, match="it is gone"):
        guarded.status(HERE)


@pytest.mark.parametrize("error", [TypeError(), AttributeError(), NameError(), KeyError(), NotImplementedError()])
def test_a_budget_with_a_bug_is_not_taken_for_one_that_is_down(guarded, flaky, error):
    flaky.down, flaky.error = True, error
    with pytest.raises(type(error)):
        guarded.reserve(HERE)


def test_ctrl_c_is_not_a_failure_of_the_budget(guarded, flaky, monkeypatch):
    def interrupted(repository):
        raise KeyboardInterrupt

    monkeypatch.setattr(flaky, "reserve", interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        guarded.reserve(HERE)


def test_a_strict_budget_fails_the_commit(flaky):
    flaky.strict = flaky.down = True
    with pytest.raises(BudgetError, match="it is gone"):
        FailOpenBudget(flaky).reserve(HERE)


def test_closing_closes_the_budget_even_while_it_is_paused(flaky):
    flaky.down = True
    with FailOpenBudget(flaky) as guarded:
        assert isinstance(guarded.reserve(HERE), Reservation)
        flaky.down, flaky.asked = False, 0
    assert flaky.asked == 1


class Private:
    """A budget that fails for the repositories whose name begins with "private", and counts how often it was asked."""

    def __init__(self) -> None:
        self.budget = from_url("memory://?limit=1")
        self.asked: list[str] = []
        self.down = self.strict = False

    def __getattr__(self, name):
        def method(repository, *args):
            self.asked.append(repository.repo_id)
            if repository.repo_id.startswith("private") or self.down:
                raise BudgetError(f"The history of {repository.repo_id} cannot be read: 401")
            return getattr(self.budget, name)(repository, *args)

        return method


def named(name: str):
    return HERE._replace(repo_id=name)


class TestOneRepository:
    def test_that_fails_switches_the_budget_off_for_itself_alone(self, time, caplog):
        guarded = FailOpenBudget(private := Private())
        for _ in range(3):
            assert commit(guarded, named("private/a")) == 0
            guarded.reserve(HERE)
        assert guarded.reserve(HERE).wait > 0
        assert private.asked.count("private/a") == 1
        assert [record.message.partition(" go on")[0] for record in caplog.records] == ["Commits to private/a"]

    def test_is_tried_again_by_itself_and_said_to_work_again(self, time, caplog):
        guarded = FailOpenBudget(private := Private())
        private.down = True
        for name in ("you/a", "you/b"):
            commit(guarded, named(name))
        time.advance(31)
        private.down = False
        guarded.reserve(named("you/a"))
        assert [record.message for record in caplog.records][2:] == ["The budget works again for you/a."]
        guarded.reserve(named("you/a"))
        guarded.reserve(named("you/b"))
        assert [record.message for record in caplog.records][3:] == ["The budget works again for you/b."]

    def test_of_very_many_that_fail_a_few_are_logged_and_a_bounded_number_remembered(self, time, caplog):
        guarded = FailOpenBudget(Private())
        for number in range(3000):
            commit(guarded, named(f"private/{number}"))
        assert len(caplog.records) == 10
        assert len(guarded._pauses._until) <= 1000
        time.advance(3601)
        commit(guarded, named("private/new"))
        assert len(caplog.records) == 11

    def test_is_none_where_the_place_is_out_of_reach(self, time, caplog):
        port = free_port()
        pytest.importorskip("redis", reason="the driver is not installed")
        guarded = FailOpenBudget(from_url(f"redis://127.0.0.1:{port}/0"))
        for number in range(5):
            commit(guarded, named(f"you/{number}"))
        assert [record.message.partition(" go on")[0] for record in caplog.records] == ["Commits"]
        assert set(guarded._pauses._until) == {None}

    def test_that_redis_alone_cannot_count_leaves_the_others(self, redis_url, time, caplog):
        import redis

        budget = from_url(f"{redis_url}?limit=1")
        budget.reserve(HERE)
        with redis.Redis.from_url(redis_url) as client:
            (row,) = client.keys("*:row")
            client.delete(row)
            client.set(row, "damaged")
        guarded = FailOpenBudget(budget)
        assert commit(guarded) == 0
        assert [guarded.reserve(named("you/a")).wait > 0 for _ in range(2)] == [False, True]
        assert len(caplog.records) == 1

    def test_keeps_its_pause_when_a_commit_has_a_token(self, flaky, time, caplog):
        flaky.budget = from_url("memory://?limit=1&scope=token")
        guarded = FailOpenBudget(flaky.budget)
        views = [guarded.with_token(token) for token in ("hf_one", "hf_one", "hf_two")]
        assert [view.reserve(HERE).wait > 0 for view in views] == [False, True, False]
        assert all(view._pauses is guarded._pauses for view in views)

    def test_of_a_budget_that_knows_no_tokens_is_the_same(self, flaky):
        class Plain:
            pass

        guarded = FailOpenBudget(Plain())
        assert guarded.with_token("hf_x") is guarded
        assert guarded.wider_quota(HERE) is None


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
class TestServerThatIsDown:
    def test_from_the_start_behaves_like_one_that_goes_down_later(self, scheme, time, caplog):
        pytest.importorskip({"redis": "redis", "postgresql": "psycopg"}[scheme], reason="the driver is not installed")
        with as_budget(f"{scheme}://127.0.0.1:{free_port()}/0") as budget:
            assert "Commits go on without their budget" in caplog.text
            assert commit(budget) == 0
            time.advance(31)
            assert commit(budget) == 0
        assert len(caplog.records) == 1
        assert f"Is the {scheme[:5].title()}" in caplog.text

    def test_raises_from_the_start_if_it_is_strict(self, scheme):
        pytest.importorskip({"redis": "redis", "postgresql": "psycopg"}[scheme], reason="the driver is not installed")
        with pytest.raises(BudgetError, match="cannot be used"):
            as_budget(f"{scheme}://127.0.0.1:{free_port()}/0?strict=1")
