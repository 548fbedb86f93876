"""The rule by which slots are handed out, the same wherever the count is kept."""

from __future__ import annotations

import pytest

from mat_vis_hub.budget.sliding_window import WAITING, Log
from mat_vis_hub.retry_after import Cooldown
from tests.budget.conftest import REPOSITORY as HERE

MINUTE = 60.0


def seconds(value: float):
    """A server's clock goes on while the test runs."""
    return pytest.approx(value, abs=0.9)


def waits(budget, count: int) -> list[float]:
    return [budget.reserve(HERE).wait for _ in range(count)]


def test_the_limit_goes_at_once_and_each_further_slot_a_window_after_the_one_that_it_follows(place):
    budget = place.budget(limit=3, window=MINUTE)
    assert waits(budget, 2) == [0, 0]
    place.passes(10)
    assert waits(budget, 5) == [0, seconds(50), seconds(50), seconds(60), seconds(110)]


def test_a_slot_says_how_many_are_used_and_what_it_waits_for(place):
    budget = place.budget(limit=2, window=MINUTE)
    slots = [budget.reserve(HERE) for _ in range(4)]
    assert [slot.used for slot in slots] == [0, 1, 2, 2]
    assert {(slot.limit, slot.reason) for slot in slots} == {(2, "budget")}
    assert len({slot.id for slot in slots}) == 4


def test_two_budgets_with_one_url_share_one_count(place):
    assert [place.budget(limit=2, window=MINUTE).reserve(HERE).wait for _ in range(3)] == [0, 0, seconds(60)]


def test_repositories_are_counted_apart(place):
    budget = place.budget(limit=1, window=MINUTE)
    assert budget.reserve(HERE).wait == 0
    for other in ({"repo_type": "model"}, {"repo_id": "you/others"}, {"endpoint": "http://127.0.0.1:1"}):
        assert budget.reserve(HERE._replace(**other)).wait == 0


def test_a_commit_counts_from_its_end_so_who_waits_for_it_waits_that_much_longer(place):
    budget = place.budget(limit=1, window=MINUTE)
    slow, next_one = budget.reserve(HERE), budget.reserve(HERE)
    place.passes(20)
    budget.confirm(HERE, slow)
    place.passes(40.5)
    next_one = budget.renew(HERE, next_one)
    assert next_one.wait == seconds(19.5)
    place.passes(20.5)
    assert budget.renew(HERE, next_one).wait == 0


def test_those_who_wait_go_in_the_order_in_which_they_asked(place):
    budget = place.budget(limit=3, window=MINUTE)
    first = [budget.reserve(HERE) for _ in range(3)]
    waiting = [budget.reserve(HERE) for _ in range(6)]
    for slot in first:
        place.passes(10)
        budget.confirm(HERE, slot)
    place.passes(30.1)
    for slot in reversed(waiting):  # whoever asks again first
        budget.renew(HERE, slot)
    again = [budget.renew(HERE, slot).wait for slot in waiting]
    assert again == [seconds(wait) for wait in (9.9, 19.9, 29.9, 69.9, 79.9, 89.9)]


def test_what_a_slot_waits_for_is_ahead_of_it_however_many_wait_behind(place):
    budget = place.budget(limit=2, window=MINUTE)
    counted, given_back, first, second, *_ = (budget.reserve(HERE).id for _ in range(20))
    with budget.log(HERE) as log:
        log.remove(given_back)
        log.move(first, WAITING)
        ahead = {slot: sorted(entry.slot for entry in log.ahead(slot)) for slot in (counted, first, second)}
    assert ahead == {counted: [], first: [counted], second: [counted, first]}


def test_a_slot_given_back_goes_to_whoever_asks_next_and_reservations_keep_their_moment(place):
    budget = place.budget(limit=2, window=MINUTE)
    slots = [budget.reserve(HERE) for _ in range(2)]
    place.passes(10)
    budget.cancel(HERE, slots[0])
    assert waits(budget, 2) == [0, seconds(50)]
    place.passes(1)
    budget.cancel(HERE, slots[1])
    assert budget.status(HERE).frees_in[0] > 40


def test_the_slot_of_a_writer_that_died_leaves_with_its_window(place):
    budget = place.budget(limit=1, window=MINUTE)
    budget.reserve(HERE)
    dies_waiting = budget.reserve(HERE)
    assert dies_waiting.wait == seconds(60)
    place.passes(60.1)
    assert budget.reserve(HERE).wait == seconds(60)
    place.passes(120.1)
    assert budget.reserve(HERE).wait == 0


def test_a_slot_that_the_place_has_forgotten_is_checked_and_counted_all_the_same(place):
    budget = place.budget(limit=1, window=MINUTE)
    budget.cancel(HERE, slot := budget.reserve(HERE))
    assert budget.renew(HERE, slot).wait == 0
    budget.cancel(HERE, slot)
    budget.confirm(HERE, slot)
    assert budget.reserve(HERE).wait == seconds(60)


def test_a_refusal_closes_the_count_for_all_who_share_it(place):
    one, other = place.budget(limit=9, window=MINUTE), place.budget(limit=9, window=MINUTE)
    one.refused(HERE, one.reserve(HERE), Cooldown(100))
    slot = other.reserve(HERE)
    assert (slot.wait, slot.reason, slot.used) == (seconds(100), "refused", 0)
    assert other.reserve(type(HERE)("https://huggingface.co", "dataset", "you/others")).wait == 0


def test_who_waits_for_a_slot_already_waits_for_the_reopening_as_well(place):
    budget = place.budget(limit=1, window=MINUTE)
    refused, waiting = budget.reserve(HERE), budget.reserve(HERE)
    budget.refused(HERE, refused, Cooldown(100))
    place.passes(60.1)
    assert budget.renew(HERE, waiting).wait == seconds(39.9)


def test_of_two_refusals_the_later_reopening_holds(place):
    budget = place.budget(window=MINUTE)
    budget.refused(HERE, None, Cooldown(100))
    budget.refused(HERE, None, Cooldown(10))
    assert budget.reserve(HERE).wait == seconds(100)


def test_a_quota_that_the_refusal_names_replaces_the_budgets_own_for_all(place):
    place.budget(limit=128, window=3600).refused(HERE, None, Cooldown(1, 2, MINUTE))
    place.passes(MINUTE)
    budget = place.budget(limit=128, window=3600)
    assert [budget.reserve(HERE).limit for _ in range(2)] == [2, 2]
    assert budget.reserve(HERE).wait == seconds(60)
    status = budget.status(HERE)
    assert (status.limit, status.window) == (2, MINUTE)


def test_after_a_reopening_one_goes_then_two_then_four(place):
    budget = place.budget(limit=9, window=MINUTE)
    budget.refused(HERE, None, Cooldown(100))
    assert waits(budget, 8) == [pytest.approx(100 + step * 1.2, abs=0.5) for step in (0, 1, 1, 2, 2, 2, 2, 3)]


def test_who_comes_a_window_after_a_reopening_need_not_look_at_all_who_wait_ahead(place, monkeypatch):
    looked, recheck = [], Log.renew
    monkeypatch.setattr(Log, "renew", lambda log, slot: looked.append(slot) or recheck(log, slot))
    budget = place.budget(limit=2, window=MINUTE)
    budget.refused(HERE, None, Cooldown(100))
    assert waits(budget, 6) == [pytest.approx(wait, abs=0.5) for wait in (100, 101.2, 160, 161.2, 220, 221.2)]
    assert len(looked) == 2


def test_a_new_refusal_right_after_the_reopening_stops_the_others_before_they_meet_their_own(place):
    budget = place.budget(limit=9, window=MINUTE)
    budget.refused(HERE, None, Cooldown(10))
    first, second, third = (budget.reserve(HERE) for _ in range(3))
    place.passes(10.1)
    assert budget.renew(HERE, first).wait == 0
    budget.refused(HERE, first, Cooldown(30))
    place.passes(1.2)
    assert budget.renew(HERE, second).wait == seconds(28.8)
    assert budget.renew(HERE, third).wait == seconds(30)


def test_the_status_tells_when_the_next_slots_free_up_and_takes_none(place):
    budget = place.budget(limit=3, window=MINUTE)
    assert budget.status(HERE).used == budget.status(HERE).used == 0
    assert budget.status(HERE).frees_in == ()
    budget.reserve(HERE)
    place.passes(20)
    waits(budget, 3)
    status = budget.status(HERE)
    assert (status.used, status.limit, status.window) == (4, 3, MINUTE)
    assert status.frees_in == (seconds(60), seconds(60), seconds(100))


def test_the_status_of_a_closed_count_says_when_it_reopens(place):
    budget = place.budget(limit=2, window=MINUTE)
    budget.refused(HERE, None, Cooldown(100))
    assert budget.status(HERE).frees_in == (seconds(100), seconds(100))


def test_a_seed_is_asked_once_and_counts_what_was_committed_before(place):
    asked = []
    budget = place.budget(limit=3, window=MINUTE, seed=lambda repository: asked.append(repository) or [50, 10, 70])
    assert waits(budget, 2) == [0, seconds(10)]
    assert asked == [HERE]


def test_a_seed_counts_nothing_twice(place):
    committed = place.budget(limit=4, window=MINUTE)
    committed.confirm(HERE, committed.reserve(HERE))
    place.passes(5)
    for _ in range(2):
        late = place.budget(limit=4, window=MINUTE, seed=lambda repository: [30, 5])
        assert late.status(HERE).used == 2


def test_a_seed_that_fails_is_said_and_costs_no_more(place, caplog):
    def broken(repository):
        raise OSError("no network")

    assert waits(place.budget(seed=broken), 2) == [0, 0]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no network" in caplog.text
