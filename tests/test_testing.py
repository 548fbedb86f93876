"""Inside `virtual_time` waits return at once and move the clocks on; afterwards everything is as before."""

from __future__ import annotations

import threading

import pytest

from mat_vis_hub import WaitCancelled, gate
from mat_vis_hub._internal import clock, interrupt, progress
from mat_vis_hub.testing import virtual_time


def test_a_wait_returns_at_once_and_the_clocks_move_on_by_it():
    with virtual_time() as time:
        wall = clock.wall()
        clock.wait(3600)
        clock.wait(0.5)
        assert time.waits == [3600.0, 0.5]
        assert time.now() == clock.monotonic() == 3600.5
        assert clock.wall() - wall == pytest.approx(3600.5)


def test_no_seconds_are_no_wait():
    with virtual_time() as time:
        clock.wait(0)
        clock.wait(-5)
        assert time.waits == []
        assert time.now() == 0


def test_threads_wait_at_the_same_time():
    with virtual_time() as time:
        begin = threading.Barrier(8)

        def wait() -> None:
            clock.monotonic()
            begin.wait()
            clock.wait(100)

        threads = [threading.Thread(target=wait) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.now() == 100
        assert time.waits == [100.0]


def test_time_that_a_commit_takes_is_nobodys_wait_and_never_goes_back():
    with virtual_time() as time:
        time.advance(10)
        for moment in (70, 60, 0):
            time.reach(moment)
            assert time.now() == 70
        assert time.waits == []


def test_a_wait_begins_after_the_time_that_a_commit_took():
    with virtual_time() as time:
        clock.monotonic()  # before the commit; the thread does not read the clock again
        time.reach(60)
        clock.wait(30)
        assert time.now() == 90
        assert time.waits == [30.0]


def test_a_wait_that_is_called_off_raises():
    owner = object()
    with virtual_time(), pytest.raises(WaitCancelled):
        clock.wait(700, owner=owner, tick=lambda remaining: interrupt.cancel(owner))


def test_waits_emit_no_heartbeats(capfd):
    heartbeats = []
    with virtual_time() as time:
        progress.wait(3600, label="you/textures", heartbeat=heartbeats.append)
        assert time.waits == [3600]
    assert heartbeats == []
    assert capfd.readouterr() == ("", "")


def test_the_ticks_of_a_wait_are_one_wait():
    ticks = []
    with virtual_time() as time:
        clock.wait(700, tick=ticks.append, every=300)
        assert time.waits == [700.0]
    assert ticks == [700.0, 400.0, 100.0]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_time_goes_forward_only(seconds):
    with virtual_time() as time, pytest.raises(ValueError, match="forward"):
        time.advance(seconds)


def test_inside_no_repository_has_been_refused_and_afterwards_all_is_as_before():
    before = clock.current, gate.current
    with virtual_time() as outer:
        gates = gate.current
        assert gates is not before[1]
        with virtual_time() as inner:
            inner.advance(5)
        assert outer.now() == 0
        assert gate.current is gates
    assert (clock.current, gate.current) == before


def test_an_error_inside_restores_the_clocks():
    before = clock.current
    with pytest.raises(RuntimeError), virtual_time():
        raise RuntimeError
    assert clock.current is before
