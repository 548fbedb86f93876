"""The rule by which commits are granted, the same wherever the count is kept."""

from __future__ import annotations

import random
from bisect import insort

import pytest

from mat_vis_hub.budget.sliding_window import place_of
from mat_vis_hub.retry_after import Cooldown
from tests.budget.conftest import REPOSITORY as HERE

MINUTE = 60.0


def after(value: float):
    """An entry leaves the window a millisecond after its end, and each further one in the chain another one later."""
    return pytest.approx(value, abs=0.01)


def waits(budget, count: int) -> list[float]:
    return [budget.reserve(HERE).wait for _ in range(count)]


class TestReserve:
    def test_limit_is_granted_at_once_and_each_further_commit_a_window_after_the_one_that_it_follows(self, place):
        budget = place.budget(limit=3, window=MINUTE)
        assert waits(budget, 2) == [0, 0]
        place.passes(10)
        assert waits(budget, 5) == [0, after(50), after(50), after(60), after(110)]

    def test_reservation_reports_how_many_are_used_and_what_it_waits_for(self, place):
        budget = place.budget(limit=2, window=MINUTE)
        reservations = [budget.reserve(HERE) for _ in range(4)]
        assert [reservation.used for reservation in reservations] == [0, 1, 2, 2]
        assert {(reservation.limit, reservation.reason) for reservation in reservations} == {(2, "budget")}
        assert len({reservation.id for reservation in reservations}) == 4

    def test_budgets_with_the_same_url_share_one_count(self, place):
        assert [place.budget(limit=2, window=MINUTE).reserve(HERE).wait for _ in range(3)] == [0, 0, after(60)]

    def test_repositories_are_counted_apart(self, place):
        budget = place.budget(limit=1, window=MINUTE)
        assert budget.reserve(HERE).wait == 0
        for other in ({"repo_type": "model"}, {"repo_id": "you/others"}, {"endpoint": "http://127.0.0.1:1"}):
            assert budget.reserve(HERE._replace(**other)).wait == 0

    def test_names_that_look_like_tokens_are_counted_apart(self, place):
        budget = place.budget(limit=1, window=MINUTE)
        names = [f"hf_{letter * 24}/textures" for letter in "ab"]
        assert [budget.reserve(HERE._replace(repo_id=name)).wait for name in names] == [0, 0]

    def test_reservation_of_a_writer_that_died_leaves_with_its_window(self, place):
        budget = place.budget(limit=1, window=MINUTE)
        budget.reserve(HERE)
        assert budget.reserve(HERE).wait == after(60)  # dies waiting
        place.passes(60.1)
        assert budget.reserve(HERE).wait == after(59.9)
        place.passes(120.1)
        assert budget.reserve(HERE).wait == 0


class TestConfirmAndRenew:
    def test_commit_counts_from_its_end_so_those_who_follow_wait_that_much_longer(self, place):
        budget = place.budget(limit=1, window=MINUTE)
        slow, following = budget.reserve(HERE), budget.reserve(HERE)
        place.passes(20)
        budget.confirm(HERE, slow)
        place.passes(40.5)
        following = budget.renew(HERE, following)
        assert following.wait == after(19.5)
        place.passes(20.5)
        assert budget.renew(HERE, following).wait == 0

    def test_waiting_writers_go_in_the_order_in_which_they_reserved(self, place):
        budget = place.budget(limit=3, window=MINUTE)
        first = [budget.reserve(HERE) for _ in range(3)]
        waiting = [budget.reserve(HERE) for _ in range(6)]
        for reservation in first:
            place.passes(10)
            budget.confirm(HERE, reservation)
        place.passes(30.1)
        for reservation in reversed(waiting):  # those that came last ask first
            budget.renew(HERE, reservation)
        again = [budget.renew(HERE, reservation).wait for reservation in waiting]
        assert again == [after(wait) for wait in (9.9, 19.9, 29.9, 69.9, 79.9, 89.9)]

    def test_reservation_that_the_place_has_forgotten_is_renewed_and_counted_all_the_same(self, place):
        budget = place.budget(limit=1, window=MINUTE)
        budget.cancel(HERE, reservation := budget.reserve(HERE))
        assert budget.renew(HERE, reservation).wait == 0
        budget.cancel(HERE, reservation)
        budget.confirm(HERE, reservation)
        assert budget.reserve(HERE).wait == after(60)

    def test_reservation_that_was_not_made_here_is_renewed_as_a_new_one(self, place):
        budget = place.budget(limit=1, window=MINUTE)
        budget.reserve(HERE)
        reservation = budget.reserve(HERE)._replace(id="0123456789abcdef")
        renewed = budget.renew(HERE, reservation)
        assert renewed.wait == after(120)
        place.passes(121)
        assert budget.renew(HERE, renewed).wait == 0


class TestCancel:
    def test_place_goes_to_the_next_one_that_reserves_and_the_others_keep_their_moments(self, place):
        budget = place.budget(limit=2, window=MINUTE)
        a, _, c, d = (budget.reserve(HERE) for _ in range(4))
        budget.cancel(HERE, a)
        assert waits(budget, 2) == [0, after(120)]
        place.passes(60.1)
        assert [budget.renew(HERE, reservation).wait for reservation in (d, c)] == [0, 0]

    def test_place_of_one_that_still_waited_is_taken_over_with_its_moment(self, place):
        budget = place.budget(limit=1, window=MINUTE)
        _, b, c, _ = (budget.reserve(HERE) for _ in range(4))
        budget.cancel(HERE, c)
        taken_over = budget.reserve(HERE)
        assert taken_over.wait == after(120)
        budget.cancel(HERE, b)
        assert waits(budget, 2) == [after(60), after(240)]

    def test_place_is_open_for_a_fiftieth_of_a_window(self, place):
        for late, wait in ((1.1, 0), (1.3, after(120))):
            repository = HERE._replace(repo_id=f"you/{late}")
            budget = place.budget(limit=2, window=MINUTE)
            first, *_ = (budget.reserve(repository) for _ in range(4))
            budget.cancel(repository, first)
            place.passes(late)
            assert budget.reserve(repository).wait == (wait if wait == 0 else after(120 - late))

    def test_room_is_used_at_once_where_nobody_waits(self, place):
        budget = place.budget(limit=2, window=MINUTE)
        reservations = [budget.reserve(HERE) for _ in range(2)]
        place.passes(30)
        budget.cancel(HERE, reservations[0])
        place.passes(10)
        assert waits(budget, 2) == [0, after(20)]

    def test_cancelling_twice_frees_one_place(self, place):
        budget = place.budget(limit=1, window=MINUTE)
        first, _ = (budget.reserve(HERE) for _ in range(2))
        budget.cancel(HERE, first)
        budget.cancel(HERE, first)
        assert waits(budget, 2) == [0, after(120)]


class TestRefused:
    def test_nobody_who_shares_the_count_commits_during_the_cooldown(self, place):
        one, other = place.budget(limit=9, window=MINUTE), place.budget(limit=9, window=MINUTE)
        one.refused(HERE, one.reserve(HERE), Cooldown(100))
        reservation = other.reserve(HERE)
        assert (reservation.wait, reservation.reason, reservation.used) == (after(100), "refused", 0)
        assert other.reserve(HERE._replace(repo_id="you/others")).wait == 0

    def test_those_who_wait_already_wait_for_the_reopening_as_well(self, place):
        budget = place.budget(limit=1, window=MINUTE)
        refused, waiting = budget.reserve(HERE), budget.reserve(HERE)
        budget.refused(HERE, refused, Cooldown(100))
        place.passes(60.1)
        assert budget.renew(HERE, waiting).wait == after(39.9)

    def test_later_word_of_the_server_replaces_an_earlier_one_for_those_who_wait_as_well(self, place):
        budget = place.budget(limit=9, window=MINUTE)
        budget.refused(HERE, None, Cooldown(5000))
        assert budget.reserve(HERE).wait == after(5000)
        budget.refused(HERE, None, Cooldown(10))
        assert budget.reserve(HERE).wait == pytest.approx(10, abs=1.3)  # and not behind the one that waits for hours
        budget.refused(HERE, None, Cooldown(20))
        assert budget.reserve(HERE).wait == pytest.approx(20, abs=2.5)

    def test_commit_that_was_sent_in_spite_of_the_refusal_and_landed_reopens(self, place):
        budget = place.budget(limit=9, window=MINUTE)
        budget.refused(HERE, None, Cooldown(80_000))
        place.passes(100)
        impatient, patient = budget.reserve(HERE), budget.reserve(HERE)
        assert impatient.wait > 70_000
        budget.confirm(HERE, impatient)
        assert budget.reserve(HERE).wait <= 3
        assert budget.renew(HERE, patient).wait <= 3

    def test_commit_that_was_under_way_when_another_one_was_refused_does_not_reopen(self, place):
        budget = place.budget(limit=9, window=MINUTE)
        under_way = budget.reserve(HERE)
        budget.refused(HERE, budget.reserve(HERE), Cooldown(100))
        budget.confirm(HERE, under_way)
        assert budget.reserve(HERE).wait == after(100)

    @pytest.mark.parametrize("wait", [1e9, float("inf")])
    def test_cooldown_is_a_day_at_most(self, place, wait):
        budget = place.budget()
        budget.refused(HERE, None, Cooldown(wait, 10**12, 1e12))
        reservation = budget.reserve(HERE)
        assert (reservation.wait, reservation.limit) == (after(86_400), 10**9)

    def test_cooldown_that_makes_no_sense_closes_nothing(self, place):
        budget = place.budget()
        for wait in (-5.0, float("nan")):
            budget.refused(HERE, None, Cooldown(wait))
        assert budget.reserve(HERE).wait == 0

    def test_after_a_reopening_one_goes_then_two_then_four(self, place):
        budget = place.budget(limit=9, window=MINUTE)
        budget.refused(HERE, None, Cooldown(100))
        assert waits(budget, 8) == [after(100 + step * 1.2) for step in (0, 1, 1, 2, 2, 2, 2, 3)]

    def test_new_refusal_right_after_the_reopening_stops_the_others_before_they_meet_their_own(self, place):
        budget = place.budget(limit=9, window=MINUTE)
        budget.refused(HERE, None, Cooldown(100))
        first, *others = (budget.reserve(HERE) for _ in range(4))
        place.passes(100.001)
        assert budget.renew(HERE, first).wait == 0
        budget.refused(HERE, first, Cooldown(30))
        place.passes(3)
        assert min(budget.renew(HERE, other).wait for other in others) > 26

    def test_refused_commit_keeps_its_place(self, place):
        budget = place.budget(limit=2, window=MINUTE)
        refused, *_ = (budget.reserve(HERE) for _ in range(4))
        budget.refused(HERE, refused, Cooldown(10))
        assert budget.reserve(HERE).wait == after(10)


class TestQuota:
    def test_quota_that_a_refusal_names_replaces_that_of_all(self, place):
        place.budget(limit=128, window=3600).refused(HERE, None, Cooldown(1, 2, MINUTE))
        place.passes(MINUTE)
        budget = place.budget(limit=128, window=3600)
        assert [budget.reserve(HERE).limit for _ in range(2)] == [2, 2]
        assert budget.reserve(HERE).wait == after(60)
        status = budget.status(HERE)
        assert (status.limit, status.window) == (2, MINUTE)

    def test_it_holds_for_three_windows_after_which_a_larger_one_is_tried_and_corrected_again(self, place):
        budget = place.budget(limit=320, window=MINUTE)
        budget.refused(HERE, None, Cooldown(1, 128, None))
        place.passes(170)
        assert budget.reserve(HERE).limit == 128
        place.passes(20)
        assert budget.reserve(HERE).limit == 320
        budget.refused(HERE, None, Cooldown(1, 128, None))
        assert budget.reserve(HERE).limit == 128

    def test_sharers_that_disagree_go_by_the_largest_limit_and_one_warning_names_both(self, place, caplog):
        large, small = place.budget(limit=4, window=MINUTE), place.budget(limit=1, window=MINUTE)
        assert waits(small, 1) == [0]
        assert waits(large, 1) == [0]
        assert waits(small, 3) == [0, 0, after(60)]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "limit=4" in caplog.text
        assert "limit=1" in caplog.text

    def test_sharer_with_a_smaller_window_does_not_forget_the_commits_of_the_others(self, place, caplog):
        long, short = place.budget(limit=2, window=1000), place.budget(limit=2, window=1)
        waits(long, 2)
        place.passes(500)
        assert short.reserve(HERE).wait == after(500)
        assert long.reserve(HERE).wait == after(500)
        assert "window=1000" in caplog.text

    def test_quota_of_a_sharer_that_has_left_is_forgotten_after_three_windows(self, place):
        place.budget(limit=4, window=MINUTE).reserve(HERE)
        small = place.budget(limit=1, window=MINUTE)
        assert small.reserve(HERE).limit == 4
        place.passes(181)
        assert small.reserve(HERE).limit == 1


class TestStatus:
    def test_reserves_nothing_and_reports_when_room_becomes_free(self, place):
        budget = place.budget(limit=3, window=MINUTE)
        assert budget.status(HERE) == (0, 3, MINUTE, ())
        waits(budget, 1)
        place.passes(20)
        waits(budget, 3)
        status = budget.status(HERE)
        assert (status.used, status.limit, status.window) == (4, 3, MINUTE)
        assert status.frees_in == (after(60), after(60), after(100))

    def test_of_a_closed_count_reports_when_it_reopens(self, place):
        budget = place.budget(limit=2, window=MINUTE)
        budget.refused(HERE, None, Cooldown(100))
        assert budget.status(HERE).frees_in == (after(100), after(100))

    def test_lists_the_soonest_thousand_of_a_huge_limit(self, place):
        budget = place.budget(limit=20_000_000, window=MINUTE)
        waits(budget, 3)
        assert budget.status(HERE).frees_in == (after(60),) * 3
        budget.refused(HERE, None, Cooldown(100))
        assert budget.status(HERE).frees_in == (after(100),) * 1000


class TestBackfill:
    def test_history_is_read_once_and_its_commits_are_counted(self, place):
        read = []
        budget = place.budget(limit=3, window=MINUTE, history=lambda it: read.append(it) or [50, 10, 70])
        assert waits(budget, 2) == [0, after(10)]
        assert read == [HERE]

    def test_nothing_is_counted_twice(self, place):
        committed = place.budget(limit=4, window=MINUTE)
        committed.confirm(HERE, committed.reserve(HERE))
        place.passes(5)
        for _ in range(2):
            late = place.budget(limit=4, window=MINUTE, history=lambda repository: [30, 5])
            assert late.status(HERE).used == 2

    def test_history_that_cannot_be_read_is_reported_and_costs_no_more(self, place, caplog):
        def broken(repository):
            raise OSError("no network")

        assert waits(place.budget(history=broken), 2) == [0, 0]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "no network" in caplog.text


class Model:
    """The rule once more, as simply as it can be said: one list of commits, one of waiting reservations, in ms."""

    def __init__(self, limit: int, window: int) -> None:
        self.limit, self.window = limit, window
        self.counted, self.waiting, self.open, self.closed = [], [], [], -(10**9)

    def settle(self, now: int, place: tuple[int, str]) -> int:
        ahead = [moment for other, moment in self.waiting if other[0] < place[0]]
        queue = sorted(moment for moment, _ in self.counted) + ahead
        moment = max([now, *ahead[-1:], *([queue[-self.limit] + self.window + 1] if len(queue) >= self.limit else [])])
        if self.closed + self.window > now:
            gone = min(len(ahead), self.limit) + sum(moment >= self.closed for moment, _ in self.counted)
            moment = max(moment, self.closed + min(2000, self.window // 50) * ((gone + 1).bit_length() - 1))
        insort(*(self.waiting, (place, moment)) if moment > now else (self.counted, (moment, place[1])))
        return moment - now

    def forget(self, now: int) -> None:
        self.counted = [entry for entry in self.counted if entry[0] >= now - self.window]
        self.waiting = [entry for entry in self.waiting if entry[1] >= now - self.window]
        self.open = sorted(entry for entry in self.open if entry[1] >= now)

    def reserve(self, now: int, id: str) -> int:
        return self.settle(now, (place_of(id), id))

    def remove(self, id: str) -> tuple[int, bool] | None:
        found = [(moment, True) for (_, other), moment in self.waiting if other == id]
        found += [(moment, False) for moment, other in self.counted if other == id]
        self.waiting = [entry for entry in self.waiting if entry[0][1] != id]
        self.counted = [entry for entry in self.counted if entry[1] != id]
        return found[0] if found else None

    def confirm(self, now: int, id: str) -> None:
        found = self.remove(id)
        insort(self.counted, (now, id))
        if found and found[1] and now < self.closed <= found[0]:
            self.close(now, now)

    def cancel(self, now: int, id: str) -> None:
        found, place = self.remove(id), place_of(id)
        if found and self.waiting and self.waiting[-1][0][0] > place:
            self.open.append((place, max(found[0], now) + self.window // 50))

    def close(self, now: int, until: int) -> None:
        if now < self.closed and until < self.closed:
            by = self.closed - until
            self.waiting = [(place, moment - by * (moment >= self.closed)) for place, moment in self.waiting]
        self.closed = until

    def taken_over(self, id: str) -> bool:
        """Whether the reservation took over the first open place, as it must if there is one."""
        first = self.open.pop(0)[0] if self.open else None
        return place_of(id) == first if first is not None else all(place_of(id) > p for (p, _), _ in self.waiting)


@pytest.mark.parametrize("seed", range(12))
def test_random_decisions_are_those_of_the_model(place, seed):
    """Whatever happens in whatever order, every store decides the same, and no window holds more than the limit."""
    chance = random.Random(seed)
    limit, window = chance.choice([(1, 10), (2, 60), (3, 5), (8, 60)])
    budget, model, now = place.budget(limit=limit, window=window), Model(limit, window * 1000), 0
    alive = []
    for _ in range(250):
        passed = chance.choice([0, 0, 1, 250, 1000, window * 300, window * 1000])
        place.passes(passed / 1000)
        now += passed
        model.forget(now)
        what = chance.choice(["reserve", "reserve", "renew", "confirm", "cancel", "refused"])
        if what == "reserve" or not alive:
            reservation = budget.reserve(HERE)
            assert model.taken_over(reservation.id)
            assert round(reservation.wait * 1000) == model.reserve(now, reservation.id)
            alive.append(reservation)
            continue
        reservation = alive.pop(chance.randrange(len(alive)))
        if what == "renew":
            model.remove(reservation.id)
            reservation = budget.renew(HERE, reservation)
            assert round(reservation.wait * 1000) == model.reserve(now, reservation.id)
            alive.append(reservation)
        elif what == "confirm":
            budget.confirm(HERE, reservation)
            model.confirm(now, reservation.id)
        elif what == "cancel":
            budget.cancel(HERE, reservation)
            model.cancel(now, reservation.id)
        elif chance.random() < 0.3:
            wait = chance.choice([0, 1000, window * 2000])
            budget.refused(HERE, reservation, Cooldown(wait / 1000))
            model.cancel(now, reservation.id)
            model.close(now, now + wait)
    assert budget.status(HERE).used == len(model.counted) + sum(at >= now - window * 1000 for _, at in model.waiting)


@pytest.mark.parametrize("seed", range(6))
def test_no_window_wherever_it_begins_holds_more_than_the_limit(place, seed):
    """Writers that wait as they are asked to, each commit at one moment, some of them cancelled."""
    chance = random.Random(seed)
    limit, window = chance.choice([(1, 10), (2, 60), (5, 20)])
    budget, now, sent, asked = place.budget(limit=limit, window=window), 0.0, [], []
    for _ in range(150):
        if not asked or chance.random() < 0.4:
            asked.append((now, budget.reserve(HERE)))
            asked[-1] = (now + asked[-1][1].wait, asked[-1][1])
            continue
        asked.sort(key=lambda entry: entry[0])
        moment, reservation = asked.pop(0)
        place.passes(max(0.0, moment - now))
        now = max(now, moment)
        if chance.random() < 0.2:
            budget.cancel(HERE, reservation)
        elif (again := budget.renew(HERE, reservation)).wait > 0:
            asked.append((now + again.wait, again))
        else:
            sent.append(now)
            budget.confirm(HERE, again)
    assert len(sent) > 30
    for first, beyond in zip(sent, sent[limit:], strict=False):
        assert beyond - first > window
