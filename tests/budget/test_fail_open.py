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


def commit(budget) -> float:
    """What a commit asks of its budget; returns how long it is to wait."""
    reservation = budget.reserve(HERE)
    if reservation.wait:
        reservation = budget.renew(HERE, reservation)
    budget.confirm(HERE, reservation)
    budget.cancel(HERE, reservation)
    budget.refused(HERE, reservation, Cooldown(0.0))
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
        guarded.saw(HERE, "main")
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
