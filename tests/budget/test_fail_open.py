"""No commit dies of its budget: one that fails is gone without, said once, and tried again."""

from __future__ import annotations

import pytest

from mat_vis_hub.budget import BudgetError, FailOpenBudget, Reservation, from_url
from mat_vis_hub.retry_after import Cooldown
from tests.budget.conftest import REPOSITORY as HERE


class Flaky:
    """A budget that fails while `down`, and counts how often it was asked."""

    def __init__(self) -> None:
        self.budget = from_url("memory://?limit=1&window=3600")
        self.down = False
        self.asked = 0

    def __getattr__(self, name):
        def method(*args):
            self.asked += 1
            if self.down:
                raise BudgetError("The budget redis://cache cannot be used: it is gone.")
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
    slot = budget.reserve(HERE)
    if slot.wait:
        slot = budget.renew(HERE, slot)
    budget.confirm(HERE, slot)
    budget.cancel(HERE, slot)
    budget.refused(HERE, slot, Cooldown(0.0))
    return slot.wait


def test_while_it_works_it_is_the_budget(guarded, flaky):
    assert guarded.reserve(HERE).wait == 0
    assert guarded.reserve(HERE).wait > 0
    assert guarded.status(HERE).used == 2
    assert flaky.asked == 3


def test_while_it_fails_nothing_raises_or_waits_and_one_warning_says_so(guarded, flaky, time, caplog):
    flaky.down = True
    for _ in range(20):
        assert commit(guarded) == 0
        time.advance(10)
    assert [record.name for record in caplog.records] == ["mat_vis_hub"]
    assert "redis://cache cannot be used" in caplog.text
    assert flaky.asked == 7  # in 200 seconds, every 30


def test_it_is_tried_again_and_counts_when_it_is_back(guarded, flaky, time, caplog):
    flaky.down = True
    commit(guarded)
    flaky.down = False
    assert guarded.reserve(HERE) == Reservation(guarded.reserve(HERE).id, 0, 0, 128) or flaky.asked == 1
    time.advance(30)
    assert guarded.reserve(HERE).wait == 0
    assert guarded.reserve(HERE).wait > 0
    assert "works again" in caplog.text


def test_a_commit_that_began_without_it_is_counted_if_it_is_back_by_then(guarded, flaky, time):
    flaky.down = True
    slot = guarded.reserve(HERE)
    flaky.down = False
    time.advance(30)
    guarded.confirm(HERE, slot)
    assert guarded.reserve(HERE).wait > 0


def test_who_asks_for_the_status_is_told_what_is_wrong(guarded, flaky):
    flaky.down = True
    with pytest.raises(BudgetError, match="it is gone"):
        guarded.status(HERE)


def test_ctrl_c_is_no_failure_of_the_budget(guarded, flaky, monkeypatch):
    def interrupted(repository):
        raise KeyboardInterrupt

    monkeypatch.setattr(flaky, "reserve", interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        guarded.reserve(HERE)
