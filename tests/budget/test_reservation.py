"""A reservation is settled by how the commit ended: confirmed, cancelled if it certainly did not land, or refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mat_vis_hub.budget import BudgetStatus, Repository, Reservation
from mat_vis_hub.budget.reservation import ReservedCommit
from mat_vis_hub.retry_after import Cooldown

REPOSITORY = Repository("https://huggingface.co", "dataset", "you/textures")


class Budget:
    """Records what it was asked."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.calls: list[tuple] = []

    def _reserve(self, name: str) -> Reservation:
        self.calls.append((name,))
        return Reservation("one", self.waits.pop(0) if self.waits else 0.0, used=8, limit=8)

    def reserve(self, repository: Repository) -> Reservation:
        return self._reserve("reserve")

    def renew(self, repository: Repository, reservation: Reservation) -> Reservation:
        return self._reserve("renew")

    def confirm(self, repository: Repository, reservation: Reservation) -> None:
        self.calls.append(("confirm", reservation.id))

    def cancel(self, repository: Repository, reservation: Reservation) -> None:
        self.calls.append(("cancel", reservation.id))

    def refused(self, repository, reservation, cooldown) -> None:
        self.calls.append(("refused", reservation and reservation.id, cooldown))

    def status(self, repository: Repository) -> BudgetStatus:
        return BudgetStatus(8, 8, 6.0)

    def close(self) -> None:
        self.calls.append(("close",))


def reserved(budget: Budget | None, wait=lambda reservation, asked_at: True) -> ReservedCommit:
    return ReservedCommit(budget, REPOSITORY, wait)


def test_a_commit_that_lands_is_counted():
    budget = Budget()
    with reserved(budget):
        assert budget.calls == [("reserve",)]
    assert budget.calls == [("reserve",), ("confirm", "one")]


def test_a_reservation_is_waited_for_and_renewed_until_its_wait_is_over():
    budget, waited = Budget(5.0, 0.5), []
    with reserved(budget, lambda reservation, asked_at: waited.append(reservation.wait) or True):
        pass
    assert waited == [5.0, 0.5]
    assert budget.calls == [("reserve",), ("renew",), ("renew",), ("confirm", "one")]


def test_a_commit_that_will_not_wait_is_sent_and_counted_all_the_same():
    budget = Budget(5.0)
    with reserved(budget, lambda reservation, asked_at: False):
        pass
    assert budget.calls == [("reserve",), ("confirm", "one")]


def test_ctrl_c_during_the_wait_cancels():
    budget = Budget(5.0)

    def interrupted(reservation: Reservation, asked_at: float) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reserved(budget, interrupted):
        raise AssertionError("went on")
    assert budget.calls == [("reserve",), ("cancel", "one")]


class Answered(Exception):
    def __init__(self, status: int) -> None:
        self.response = SimpleNamespace(status_code=status, url="https://huggingface.co/api/x/commit/main")


@pytest.mark.parametrize("error", [ValueError(), Answered(403), Answered(412)], ids=repr)
def test_a_commit_that_certainly_did_not_land_is_cancelled(error):
    budget = Budget()
    with pytest.raises(type(error)), reserved(budget):
        raise error
    assert budget.calls[-1] == ("cancel", "one")


@pytest.mark.parametrize("error", [Answered(503), KeyboardInterrupt()], ids=repr)
def test_a_commit_that_may_have_landed_is_counted(error):
    budget = Budget()
    with pytest.raises(type(error)), reserved(budget):
        raise error
    assert budget.calls[-1] == ("confirm", "one")


def test_a_refusal_is_passed_on_once():
    budget = Budget()
    with reserved(budget) as one:
        one.refused(Cooldown(2670.0, 128, 3600.0))
    assert budget.calls == [("reserve",), ("refused", "one", Cooldown(2670.0, 128, 3600.0))]


def test_without_a_budget_nothing_happens():
    with reserved(None) as nothing:
        nothing.refused(Cooldown(1.0))
