"""A wait is counted, ticks while it lasts, is one `time.sleep` where a test patches it, and can be called off."""

from __future__ import annotations

import copy
import pickle
import threading
import time

import pytest

from mat_vis_hub import WaitCancelled
from mat_vis_hub._internal import clock, interrupt


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """The calls of a patched `time.sleep`."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def test_reads_the_real_clocks():
    assert clock.monotonic() == pytest.approx(time.monotonic(), abs=60)
    assert clock.wall() == pytest.approx(time.time(), abs=60)


class TestPatchedSleep:
    def test_a_wait_is_one_call_with_its_seconds(self, slept):
        clock.wait(3)
        assert slept == [3]

    def test_a_wait_with_ticks_is_one_call_per_piece(self, slept):
        ticks = []
        clock.wait(700, tick=ticks.append, every=300)
        assert slept == [300, 300, 100]
        assert ticks == [700, 400, 100]

    def test_no_seconds_are_no_call(self, slept):
        clock.wait(0)
        clock.wait(-5)
        assert slept == []

    def test_a_function_of_any_kind_counts_as_patched(self, monkeypatch):
        calls = []
        monkeypatch.setattr("time.sleep", lambda seconds: calls.append(seconds))
        clock.wait(3)
        assert calls == [3]

    def test_a_wait_outside_the_main_thread_is_one_call_as_well(self, slept):
        thread = threading.Thread(target=clock.wait, args=(3600,))
        thread.start()
        thread.join()
        assert slept == [3600]

    def test_a_clock_that_stands_still_does_not_prolong_the_wait(self, slept, monkeypatch):
        monkeypatch.setattr("time.monotonic", lambda: 0.0)
        clock.wait(3)
        assert slept == [3]


def test_the_delays_of_pieces_do_not_add_up(monkeypatch):
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += 1.5 * seconds  # a machine that wakes us late

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: now)
    clock.wait(1000, every=10)
    assert 1000 <= now <= 1015


def test_waits_no_shorter_than_asked_and_ticks_with_what_remains():
    ticks = []
    began = time.monotonic()
    clock.wait(0.05, tick=ticks.append, every=0.02)
    assert time.monotonic() - began >= 0.049
    assert ticks[0] == 0.05
    assert ticks == sorted(ticks, reverse=True)
    assert len(ticks) <= 3


class TestCancelWaits:
    def wait_in_a_thread(self, owner: object, outcomes: list[str]) -> threading.Thread:
        waits = threading.Event()

        def run() -> None:
            try:
                clock.wait(3600, owner=owner, tick=lambda remaining: waits.set())
                outcomes.append("ended")
            except WaitCancelled:
                outcomes.append("cancelled")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert waits.wait(60)
        return thread

    def test_all_waits_of_the_owner_end_in_all_threads(self):
        owner, outcomes = object(), []
        threads = [self.wait_in_a_thread(owner, outcomes) for _ in range(4)]
        interrupt.cancel(owner)
        for thread in threads:
            thread.join(60)
        assert outcomes == ["cancelled"] * 4

    def test_the_waits_of_others_go_on(self):
        mine, other, outcomes = object(), object(), []
        thread = self.wait_in_a_thread(other, outcomes)
        interrupt.cancel(mine)
        assert thread.is_alive()
        assert outcomes == []
        interrupt.cancel(other)
        thread.join(60)
        assert outcomes == ["cancelled"]

    def test_the_owner_may_wait_again(self, slept):
        owner = object()
        interrupt.cancel(owner)
        clock.wait(3, owner=owner)
        assert slept == [3]

    def test_a_wait_of_the_main_thread_ends_as_well(self):
        owner = object()

        def cancel_soon(remaining: float) -> None:
            threading.Thread(target=interrupt.cancel, args=(owner,)).start()

        with pytest.raises(WaitCancelled):
            clock.wait(3600, owner=owner, tick=cancel_soon)

    def test_a_patched_wait_ends_with_the_call_that_it_is_in(self, monkeypatch):
        owner, slept = object(), []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            interrupt.cancel(owner)

        monkeypatch.setattr("time.sleep", sleep)
        with pytest.raises(WaitCancelled):
            clock.wait(700, owner=owner, every=300)
        assert slept == [300]


class TestCancelScope:
    """The waits of calls that have begun are called off together, also those that begin later."""

    def test_a_wait_that_begins_after_the_cancellation_ends_at_once(self, slept):
        waits = interrupt.Waits()
        scope = waits.scope
        waits.cancel()
        with pytest.raises(WaitCancelled):
            clock.wait(3600, owner=scope)
        assert slept == []

    def test_the_waits_of_later_calls_are_not_affected(self, slept):
        waits = interrupt.Waits()
        waits.cancel()
        clock.wait(3, owner=waits.scope)
        assert slept == [3]

    def test_a_copy_has_waits_of_its_own(self, slept):
        waits = interrupt.Waits()
        twins = [copy.copy(waits), copy.deepcopy(waits), pickle.loads(pickle.dumps(waits))]
        scopes = [twin.scope for twin in twins]
        waits.cancel()
        for scope in scopes:
            clock.wait(3, owner=scope)
        assert slept == [3, 3, 3]
