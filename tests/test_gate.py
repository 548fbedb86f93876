"""One gate per process and repository: a closed window costs about one refusal, not one per writer."""

from __future__ import annotations

import os
import threading

import pytest

from mat_vis_hub import gate
from mat_vis_hub.gate import Gate, Gates


def never(reopens_at: float) -> bool:
    raise AssertionError(f"waits for {reopens_at}")


def pass_through(gate: Gate) -> None:
    with gate.permit(never) as passage:
        passage.succeeded()


def has_room(gate: Gate) -> bool:
    """Whether a writer that came now would go straight through (seen from the inside: the wait itself is real)."""
    return gate._room() > 0


def test_an_open_gate_lets_a_writer_through_at_once(time):
    pass_through(Gate())
    assert time.waits == []


def test_a_refused_writer_closes_it_for_all_until_the_moment_it_named(time):
    gate = Gate()
    with gate.permit(never) as passage:
        assert passage.refused(100, limit=None, window=None) == 100
    asked = []

    def wait(reopens_at: float) -> bool:
        asked.append(reopens_at)
        time.advance(60)
        return True

    with gate.permit(wait):
        assert time.now() == 120
    assert asked == [100, 100]


def test_of_two_refusals_the_later_reopening_holds(time):
    gate = Gate()
    with gate.permit(never) as first:
        first.refused(100, limit=None, window=None)
        assert first.refused(10, limit=None, window=None) == 100


def test_a_writer_with_no_patience_goes_through_a_closed_gate(time):
    gate = Gate()
    with gate.permit(never) as passage:
        passage.refused(100, limit=None, window=None)
    with gate.permit(lambda reopens_at: False):
        assert time.now() == 0


def test_first_one_by_one_and_twice_as_many_with_each_success(time):
    gate = Gate()
    with gate.permit(never) as first:
        assert not has_room(gate)
        first.succeeded()
    with gate.permit(never), gate.permit(never) as second:
        assert not has_room(gate)
        second.succeeded()
        assert has_room(gate)


def test_after_a_refusal_one_by_one_again(time):
    gate = Gate()
    for _ in range(5):
        pass_through(gate)
    with gate.permit(never) as passage:
        passage.refused(10, limit=None, window=None)
    time.advance(10)
    with gate.permit(never):
        assert not has_room(gate)


def test_a_writer_that_fails_otherwise_makes_room_and_changes_nothing(time):
    gate = Gate()
    with pytest.raises(KeyError), gate.permit(never):
        raise KeyError
    with gate.permit(never):
        assert not has_room(gate)


def test_once_the_quota_is_known_the_last_commits_of_a_window_go_one_by_one(time):
    gate = Gate()
    with gate.permit(never) as passage:
        passage.refused(60, limit=8, window=60)
    time.advance(60)
    for _ in range(6):
        pass_through(gate)
    with gate.permit(never):
        assert has_room(gate)
        with gate.permit(never):
            assert not has_room(gate)  # two under way, two left
    pass_through(gate)
    pass_through(gate)
    with gate.permit(never):
        assert not has_room(gate)  # spent: whoever comes now is alone in meeting the refusal
    time.advance(60)
    with gate.permit(never):
        assert has_room(gate)  # and a window later it is new


def test_until_it_is_known_every_multiple_of_the_usual_quota_is_passed_by_one_alone(time):
    gate = Gate()
    for _ in range(2):
        for _ in range(127):
            pass_through(gate)
        with gate.permit(never):
            assert has_room(gate)
        pass_through(gate)
        with gate.permit(never):
            assert not has_room(gate)
    time.advance(3600)
    pass_through(gate)
    with gate.permit(never):
        assert has_room(gate)


def test_a_writer_that_hangs_holds_the_others_up_for_a_while_only(time, monkeypatch):
    monkeypatch.setattr("mat_vis_hub.gate._PATIENCE_FOR_OTHERS", 0.01)
    gate = Gate()
    with gate.permit(never), gate.permit(never):
        pass


def test_waiting_writers_go_as_soon_as_one_leaves(time):
    gate = Gate()
    entered = threading.Event()

    def second():
        with gate.permit(never):
            entered.set()

    with gate.permit(never) as first:
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.is_set()
        first.succeeded()
    thread.join(timeout=30)
    assert entered.is_set()


def test_no_more_are_woken_than_can_come_in(time, monkeypatch):
    gate = Gate()
    woken = []
    monkeypatch.setattr(gate._changed, "notify", woken.append)
    for _ in range(3):
        pass_through(gate)
    with gate.permit(never):
        pass_through(gate)
    assert woken == [2, 4, 8, 15, 16]


def test_those_who_wait_for_room_learn_of_a_refusal(time):
    gate = Gate()
    told = []

    def second():
        with gate.permit(lambda reopens_at: told.append(reopens_at)):
            pass

    with gate.permit(never) as first:
        thread = threading.Thread(target=second)
        thread.start()
        while not gate._changed._waiters:
            pass
        first.refused(100, limit=None, window=None)
        thread.join(timeout=30)
        assert told == [100]


def test_one_gate_per_endpoint_and_repository():
    gates = Gates()
    one = gates.of("https://huggingface.co", "dataset", "you/textures")
    assert gates.of("https://huggingface.co", "dataset", "you/textures") is one
    assert gates.of("https://huggingface.co", "model", "you/textures") is not one
    assert gates.of("https://huggingface.co", "dataset", "you/others") is not one
    assert gates.of("http://127.0.0.1:8080", "dataset", "you/textures") is not one


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_starts_with_open_gates(time):
    with gate.current.of("hub", "model", "you/model").permit(never) as passage:
        passage.refused(1000, limit=None, window=None)
        child = os.fork()
        if child == 0:
            fresh = gate.current.of("hub", "model", "you/model")
            os._exit(0 if has_room(fresh) and fresh.reopens_at < 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
