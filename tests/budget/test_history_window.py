"""One process's count: a commit counts once, for exactly a window, whichever way we learn of it; when a look is due."""

from __future__ import annotations

import math

import pytest

from mat_vis_hub.budget.history_window import HistoryWindow, worth_a_look
from mat_vis_hub.retry_after import Cooldown
from mat_vis_hub.testing import virtual_time


@pytest.fixture
def time():
    with virtual_time() as time:
        yield time


@pytest.fixture
def ledger(time, monkeypatch) -> HistoryWindow:
    monkeypatch.setattr("random.random", lambda: 0)
    ledger = HistoryWindow(limit=4, window=100)
    ledger.note({}, time.now())
    return ledger


def commit(ledger: HistoryWindow, time, takes: float = 2, name: str = "x") -> None:
    assert ledger.place(name).wait == 0
    time.advance(takes)
    ledger.spend(name)


class TestWorthALook:
    @pytest.mark.parametrize(
        ("room", "used", "age", "worth"),
        [
            (128, 0, math.inf, True),  # the first of all
            (128, 0, 0, False),
            (128, 31, 0, False),
            (128, 32, 0, True),  # four like us could have filled it
            (128, 0, 899, False),
            (128, 0, 900, True),  # a quarter of the window without a look
            (64, 0, 450, True),  # the less room, the sooner
            (1, 0, 5, False),
            (1, 0, 8, True),
            (1, 1, 0, True),  # the last slot, after any commit
        ],
    )
    def test_the_nearer_the_limit_the_younger_the_look(self, room, used, age, worth):
        assert worth_a_look(room, used, age, limit=128, window=3600) is worth


class TestCount:
    def test_a_commit_of_ours_counts_for_a_window_from_its_end(self, ledger, time):
        for number in range(4):
            commit(ledger, time, name=str(number))
        slot = ledger.place("next")
        assert (slot.wait, slot.used, slot.limit, slot.reason) == (94, 4, 4, "budget")
        time.advance(94)
        assert ledger.place("next").wait == 0

    def test_a_slot_given_back_leaves_nothing(self, ledger, time):
        for _ in range(10):
            assert ledger.place("x").wait == 0
            ledger.drop("x")
        assert ledger.status().used == 0

    def test_first_come_first_served(self, ledger, time):
        for number in range(4):
            commit(ledger, time, takes=10, name=str(number))
        assert [ledger.place(name).wait for name in "abcde"] == [70, 80, 90, 100, 170]
        time.advance(75)
        assert ledger.place("b").wait == 5  # "a" has not gone yet, and is still ahead
        ledger.drop("a")
        assert ledger.place("b").wait == 0

    def test_a_slot_that_nobody_settles_is_forgotten_after_a_window(self, ledger, time):
        for name in "abcd":
            ledger.place(name)
        time.advance(100.1)
        ledger.note({}, time.now())
        assert ledger.status().used == 0

    def test_the_commits_of_others_count_from_when_they_were_made(self, ledger, time):
        time.advance(50)
        ledger.note({"a": 10, "b": 20, "c": 30, "d": 40}, time.now())
        assert ledger.place("x").wait == 60


class TestOurOwnInTheHistory:
    def test_counts_once_when_a_look_shows_it(self, ledger, time):
        commit(ledger, time)
        ledger.note({"ours": time.now()}, time.now())
        assert ledger.status().used == 1

    def test_counts_once_when_a_look_shows_it_before_we_know_that_it_has_ended(self, ledger, time):
        ledger.place("x")
        time.advance(1)
        ledger.note({"ours": time.now()}, time.now())
        time.advance(1)
        ledger.spend("x")
        assert ledger.status().used == 1

    def test_goes_on_counting_where_no_look_shows_it(self, ledger, time):
        """On a branch that nobody named, or a history that lags behind."""
        commit(ledger, time)
        ledger.note({}, time.now())
        assert ledger.status().used == 1

    def test_is_not_mistaken_for_what_others_did_before_or_after_it(self, ledger, time):
        ledger.note({"before": time.now()}, time.now())
        time.advance(1)
        commit(ledger, time)
        time.advance(60)
        ledger.note({"after": time.now()}, time.now())
        assert ledger.status().used == 3

    def test_is_found_among_others_of_ours_close_by(self, time):
        """The history has the newest first, and dates them up to two seconds late."""
        ledger = HistoryWindow(limit=100, window=100)
        ledger.note({}, time.now())
        for number in range(20):
            commit(ledger, time, takes=1, name=str(number))
        ledger.note({str(number): number + 2.9 for number in reversed(range(20))}, time.now())
        assert ledger.status().used == 20

    def test_is_one_of_those_made_meanwhile_and_no_more_than_one(self, ledger, time):
        commit(ledger, time)
        ledger.note({"ours": time.now(), "another's": time.now()}, time.now())
        assert ledger.status().used == 2


class TestStatus:
    def test_says_when_slots_free_up_soonest_first(self, ledger, time):
        for number in range(3):
            commit(ledger, time, takes=10, name=str(number))
        status = ledger.status()
        assert (status.used, status.limit, status.window, status.frees_in) == (3, 4, 100, (80, 90, 100))

    def test_nothing_frees_up_while_it_is_closed(self, ledger, time):
        commit(ledger, time, takes=10)
        ledger.close(Cooldown(95, 3, 100))
        assert ledger.status().frees_in == (95, 95, 100)


class TestClose:
    def test_nobody_goes_before_the_moment_named(self, ledger, time):
        ledger.close(Cooldown(30, 4, 100))
        slot = ledger.place("x")
        assert (slot.wait, slot.reason) == (30, "refused")
        ledger.close(Cooldown(10, 4, 100))
        assert ledger.place("x").wait == 30

    def test_the_quota_is_replaced(self, ledger, time):
        ledger.close(Cooldown(0, 2, 50))
        commit(ledger, time, takes=10, name="a")
        commit(ledger, time, takes=10, name="b")
        slot = ledger.place("c")
        assert (slot.wait, slot.limit) == (40, 2)

    def test_the_next_goes_with_a_look(self, ledger, time):
        assert not ledger.needs_a_look("x")
        ledger.close(Cooldown(30, 4, 100))
        assert not ledger.needs_a_look("x")  # it cannot go anyway
        time.advance(30)
        assert ledger.needs_a_look("x")


def test_waits_are_spread_and_still_nobody_is_overtaken(time, monkeypatch):
    draws = iter([0.9, 0.1, 0.5])
    monkeypatch.setattr("random.random", lambda: next(draws))
    ledger = HistoryWindow(limit=3, window=100)
    ledger.note({"a": 0.0, "b": 0.0, "c": 0.0}, time.now())
    assert [ledger.place(name).wait for name in "xyz"] == pytest.approx([100.9, 100.9, 100.9])


def test_of_a_commit_under_way_that_the_history_shows_already_the_end_is_awaited(ledger, time):
    """It counts twice until then: as itself and as what may be another's. Nobody waits a whole window for that."""
    for name in "abc":
        ledger.place(name)
    time.advance(3)
    ledger.note({name: time.now() - 1 for name in "ABC"}, time.now())
    assert ledger.place("x").wait == 3  # for as long as they have been under way
    for name in "abc":
        ledger.spend(name)
    assert ledger.place("x").wait == 0


def test_a_slot_is_not_held_up_by_a_commit_under_way_for_hours(ledger, time):
    for name in "abcd":
        ledger.place(name)
    time.advance(3 * 3600)
    ledger.note({}, time.now())
    assert ledger.place("x").wait == 0
