"""One process's count: a commit counts once, for exactly a window, however we learn of it; when to read the history."""

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
def window(time, monkeypatch) -> HistoryWindow:
    monkeypatch.setattr("random.random", lambda: 0)
    window = HistoryWindow(4, 100)
    window.note({}, time.now())
    return window


def commit(window: HistoryWindow, time, takes: float = 2, name: str = "x") -> None:
    assert window.place(name).wait == 0
    time.advance(takes)
    window.confirm(name)


class TestWorthALook:
    @pytest.mark.parametrize(
        ("room", "used", "age", "worth"),
        [
            (128, 0, math.inf, True),  # the first of all
            (128, 0, 0, False),
            (128, 31, 0, False),
            (128, 32, 0, True),  # four writers like us could have filled it
            (128, 0, 899, False),
            (128, 0, 900, True),  # not read for a quarter of the window
            (64, 0, 450, True),  # the less room, the sooner
            (1, 0, 5, False),
            (1, 0, 8, True),
            (1, 1, 0, True),  # the last commit of the window, after any of ours
        ],
    )
    def test_near_the_limit_the_history_is_read_more_often(self, room, used, age, worth):
        assert worth_a_look(room, used, age, limit=128, window=3600) is worth


class TestMoved:
    def test_the_first_look_reads_each_newest_commit_once_and_not_more_than_thirty(self, window):
        assert window.moved({"main": "a", "v1": "b", "v2": "a", "refs/pr/1": "b"}) == ["main", "v1"]
        assert len(window.moved({str(number): str(number) for number in range(100)})) == 30

    def test_a_later_one_reads_what_has_moved_however_much_it_is(self, window, time):
        heads = {str(number): str(number) for number in range(100)}
        window.note({}, time.now(), heads.values())
        assert window.moved(heads) == []
        assert window.moved({**heads, "3": "new", "4": "3", "more": "new"}) == ["3"]
        assert len(window.moved({name: f"new {name}" for name in heads})) == 100

    def test_a_commit_that_is_known_need_not_be_read_again(self, window, time):
        window.note({"b": time.now()}, time.now(), ["c"])
        assert window.moved({"main": "c", "v1": "b"}) == []

    def test_after_a_change_of_the_window_all_are_read_again(self, window, time):
        window.note({}, time.now(), ["a"])
        window.close(Cooldown(0, None, 1000))
        assert window.moved({"main": "a"}) == ["main"]


class TestCount:
    def test_a_commit_of_ours_counts_for_a_window_from_its_end(self, window, time):
        for number in range(4):
            commit(window, time, name=str(number))
        reservation = window.place("next")
        assert (reservation.wait, reservation.used, reservation.limit, reservation.reason) == (94, 4, 4, "budget")
        time.advance(94)
        assert window.place("next").wait == 0

    def test_a_cancelled_reservation_leaves_nothing(self, window, time):
        for _ in range(10):
            assert window.place("x").wait == 0
            window.cancel("x")
        assert window.status().used == 0

    def test_first_come_first_served(self, window, time):
        for number in range(4):
            commit(window, time, takes=10, name=str(number))
        assert [window.place(name).wait for name in "abcde"] == [70, 80, 90, 100, 170]
        time.advance(75)
        assert window.place("b").wait == 5  # "a" has not gone yet, and is still ahead
        window.cancel("a")
        assert window.place("b").wait == 0

    def test_a_reservation_that_nobody_settles_is_forgotten_after_a_window(self, window, time):
        for name in "abcd":
            window.place(name)
        time.advance(100.1)
        window.note({}, time.now())
        assert window.status().used == 0

    def test_the_commits_of_others_count_from_when_they_were_made(self, window, time):
        time.advance(50)
        window.note({"a": 10, "b": 20, "c": 30, "d": 40}, time.now())
        assert window.place("x").wait == 60


class TestOurOwnInTheHistory:
    def test_counts_once_when_a_look_shows_it(self, window, time):
        commit(window, time)
        window.note({"ours": time.now()}, time.now())
        assert window.status().used == 1

    def test_counts_once_when_a_look_shows_it_before_we_know_that_it_has_ended(self, window, time):
        window.place("x")
        time.advance(1)
        window.note({"ours": time.now()}, time.now())
        time.advance(1)
        window.confirm("x")
        assert window.status().used == 1

    def test_goes_on_counting_where_no_look_shows_it(self, window, time):
        """On a branch that the first look left out, or in a history that lags behind."""
        commit(window, time)
        window.note({}, time.now())
        assert window.status().used == 1

    def test_is_not_mistaken_for_what_others_did_before_or_after_it(self, window, time):
        window.note({"before": time.now()}, time.now())
        time.advance(1)
        commit(window, time)
        time.advance(60)
        window.note({"after": time.now()}, time.now())
        assert window.status().used == 3

    def test_is_found_among_others_of_ours_close_by(self, time):
        """The history has the newest first, and dates them up to two seconds late."""
        window = HistoryWindow(100, 100)
        window.note({}, time.now())
        for number in range(20):
            commit(window, time, takes=1, name=str(number))
        window.note({str(number): number + 2.9 for number in reversed(range(20))}, time.now())
        assert window.status().used == 20

    def test_is_one_of_those_made_meanwhile_and_no_more_than_one(self, window, time):
        commit(window, time)
        window.note({"ours": time.now(), "another's": time.now()}, time.now())
        assert window.status().used == 2


class TestStatus:
    def test_lists_when_room_becomes_free_soonest_first(self, window, time):
        for number in range(3):
            commit(window, time, takes=10, name=str(number))
        status = window.status()
        assert (status.used, status.limit, status.window, status.frees_in) == (3, 4, 100, (80, 90, 100))

    def test_nothing_becomes_free_while_it_is_closed(self, window, time):
        commit(window, time, takes=10)
        window.close(Cooldown(95, 3, 100))
        assert window.status().frees_in == (95, 95, 100)

    def test_lists_a_thousand_moments_at_most(self, time):
        window = HistoryWindow(20_000_000, 100)
        assert window.status() == (0, 20_000_000, 100, ())
        window.close(Cooldown(30))
        assert window.status().frees_in == (30,) * 1000


def test_is_over_once_nothing_in_it_matters(window, time):
    assert not window.is_over()  # what a look has found out need not be asked again for a while
    time.advance(101)
    assert window.is_over()
    commit(window, time)
    window.close(Cooldown(10, 2, None))
    for _ in range(3):
        assert not window.is_over()
        time.advance(99)
    time.advance(10)
    assert window.is_over()


class TestClose:
    def test_no_commit_is_sent_during_the_cooldown(self, window, time):
        window.close(Cooldown(30, 4, 100))
        reservation = window.place("x")
        assert (reservation.wait, reservation.reason) == (30, "refused")
        window.close(Cooldown(10, 4, 100))
        assert window.place("y").wait == 10  # a later word replaces an earlier one, for those who wait as well

    def test_a_commit_that_was_sent_all_the_same_and_landed_reopens(self, window, time):
        window.close(Cooldown(80_000))
        time.advance(50)
        window.place("impatient")
        window.place("patient")
        window.confirm("impatient")
        assert window.place("patient").wait == 0
        assert window.status().used == 2

    def test_a_commit_that_was_under_way_does_not_reopen(self, window, time):
        window.place("x")
        window.close(Cooldown(100))
        window.confirm("x")
        assert window.place("y").wait == 100

    def test_the_quota_that_a_refusal_named_holds_for_three_windows(self, window, time):
        window.close(Cooldown(0, 2, 50))
        time.advance(149)
        assert (window.place("a").limit, window.window) == (2, 50)
        window.cancel("a")
        time.advance(1)
        assert (window.place("a").limit, window.window) == (4, 100)

    def test_the_quota_is_replaced(self, window, time):
        window.close(Cooldown(0, 2, 50))
        commit(window, time, takes=10, name="a")
        commit(window, time, takes=10, name="b")
        reservation = window.place("c")
        assert (reservation.wait, reservation.limit) == (40, 2)

    def test_the_history_is_read_before_the_next_commit(self, window, time):
        assert not window.needs_a_look("x")
        window.close(Cooldown(30, 4, 100))
        assert not window.needs_a_look("x")  # it cannot go anyway
        time.advance(30)
        assert window.needs_a_look("x")


def test_waits_are_spread_and_nobody_is_overtaken(time, monkeypatch):
    draws = iter([0.9, 0.1, 0.5])
    monkeypatch.setattr("random.random", lambda: next(draws))
    window = HistoryWindow(3, 100)
    window.note({"a": 0.0, "b": 0.0, "c": 0.0}, time.now())
    assert [window.place(name).wait for name in "xyz"] == pytest.approx([100.9, 100.9, 100.9])


def test_a_commit_under_way_that_the_history_shows_already_delays_others_only_until_it_ends(window, time):
    """It counts twice until then: as itself and as what may be another's. Nobody waits a whole window for that."""
    for name in "abc":
        window.place(name)
    time.advance(3)
    window.note({name: time.now() - 1 for name in "ABC"}, time.now())
    assert window.place("x").wait == 3  # for as long as they have been under way
    for name in "abc":
        window.confirm(name)
    assert window.place("x").wait == 0


def test_a_commit_that_has_been_under_way_for_hours_delays_nobody(window, time):
    for name in "abcd":
        window.place(name)
    time.advance(3 * 3600)
    window.note({}, time.now())
    assert window.place("x").wait == 0
