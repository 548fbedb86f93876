"""A slot is settled by how the call ended: counted, given back where it was certainly not, or refused for all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mat_vis_hub.budget import BudgetStatus, Repository, Reservation
from mat_vis_hub.budget.reservation import ReservedCommit
from mat_vis_hub.retry_after import Cooldown

REPOSITORY = Repository("https://huggingface.co", "dataset", "you/textures")


class Budget:
    """Keeps what it was asked."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.calls: list[tuple] = []

    def _slot(self, name: str) -> Reservation:
        self.calls.append((name,))
        return Reservation("one", self.waits.pop(0) if self.waits else 0.0, used=8, limit=8)

    def reserve(self, repository: Repository) -> Reservation:
        return self._slot("take")

    def renew(self, repository: Repository, slot: Reservation) -> Reservation:
        return self._slot("recheck")

    def confirm(self, repository: Repository, slot: Reservation) -> None:
        self.calls.append(("spent", slot.id))

    def cancel(self, repository: Repository, slot: Reservation) -> None:
        self.calls.append(("give_back", slot.id))

    def refused(self, repository, reservation, cooldown) -> None:
        self.calls.append(("refused", reservation and reservation.id, cooldown))

    def status(self, repository: Repository) -> BudgetStatus:
        return BudgetStatus(8, 8, 6.0)

    def close(self) -> None:
        self.calls.append(("close",))


def claim(budget: Budget | None, wait=lambda slot: True) -> ReservedCommit:
    return ReservedCommit(budget, REPOSITORY, wait)


def test_a_call_that_succeeds_is_counted():
    budget = Budget()
    with claim(budget):
        assert budget.calls == [("take",)]
    assert budget.calls == [("take",), ("spent", "one")]


def test_a_slot_to_come_is_waited_for_as_often_as_it_moves():
    budget, waited = Budget(5.0, 0.5), []
    with claim(budget, lambda slot: waited.append(slot.wait) or True):
        pass
    assert waited == [5.0, 0.5]
    assert budget.calls == [("take",), ("recheck",), ("recheck",), ("spent", "one")]


def test_whoever_will_not_wait_goes_all_the_same_and_is_counted_all_the_same():
    budget = Budget(5.0)
    with claim(budget, lambda slot: False):
        pass
    assert budget.calls == [("take",), ("spent", "one")]


def test_ctrl_c_in_the_wait_gives_the_slot_back():
    budget = Budget(5.0)

    def interrupted(slot: Reservation) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), claim(budget, interrupted):
        raise AssertionError("went on")
    assert budget.calls == [("take",), ("give_back", "one")]


class Answered(Exception):
    def __init__(self, status: int) -> None:
        self.response = SimpleNamespace(status_code=status, url="https://huggingface.co/api/x/commit/main")


@pytest.mark.parametrize("error", [ValueError(), Answered(403), Answered(412)], ids=repr)
def test_what_certainly_did_not_land_gives_the_slot_back(error):
    budget = Budget()
    with pytest.raises(type(error)), claim(budget):
        raise error
    assert budget.calls[-1] == ("give_back", "one")


@pytest.mark.parametrize("error", [Answered(503), KeyboardInterrupt()], ids=repr)
def test_what_may_have_landed_is_counted(error):
    budget = Budget()
    with pytest.raises(type(error)), claim(budget):
        raise error
    assert budget.calls[-1] == ("spent", "one")


def test_a_refusal_is_handed_on_once_with_what_it_named():
    budget = Budget()
    with claim(budget) as one:
        one.refused(Cooldown(2670.0, 128, 3600.0))
    assert budget.calls == [("take",), ("refused", "one", Cooldown(2670.0, 128, 3600.0))]


def test_without_a_budget_nothing_happens():
    with claim(None) as nothing:
        nothing.refused(Cooldown(1.0))
