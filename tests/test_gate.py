"""The gate of a repository: closed while the Hub refuses, and one commit at a time, first come, first served."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mat_vis_hub import gate
from mat_vis_hub._hub.repository import Repository
from mat_vis_hub.gate import Gate, Gates, Permit, WiderGate

HERE = Repository("https://huggingface.co", "dataset", "you/textures")


def until_set(granted: threading.Event, seconds: float) -> bool:
    return granted.wait(30)


def never(granted: threading.Event, seconds: float) -> bool:
    raise AssertionError("waits for another commit")


@contextmanager
def permit_of(gate: Gate) -> Iterator[Permit]:
    permit = Permit(gate)
    try:
        yield permit
    finally:
        permit.release()


def acquire_in_another_thread(permit: Permit) -> None:
    thread = threading.Thread(target=permit.acquire, args=(never,))
    thread.start()
    thread.join(30)


class Commits:
    """Threads that acquire a permit one after another. `order` lists them as they acquired it."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.order: list[int] = []
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        number = len(self.threads)
        asked = threading.Event()

        def wait(granted: threading.Event, seconds: float) -> bool:
            asked.set()
            return granted.wait(30)

        def commit() -> None:
            with permit_of(self.gate) as permit:
                permit.acquire(wait)
                asked.set()
                self.order.append(number)

        self.threads.append(threading.Thread(target=commit))
        self.threads[-1].start()
        assert asked.wait(30)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


class TestOrder:
    def test_the_first_commit_does_not_wait(self):
        with permit_of(Gate()) as permit:
            permit.acquire(never)

    def test_the_others_go_one_at_a_time_in_the_order_in_which_they_asked(self):
        gate = Gate()
        commits = Commits(gate)
        with permit_of(gate) as permit:
            permit.acquire(never)
            for _ in range(5):
                commits.start()
            assert commits.order == []
        commits.join()
        assert commits.order == [0, 1, 2, 3, 4]

    def test_a_commit_that_asks_again_goes_before_later_ones(self):
        gate = Gate()
        commits = Commits(gate)
        with permit_of(gate) as refused, permit_of(gate) as other:
            refused.acquire(never)
            commits.start()
            refused.release()
            commits.join()
            other.acquire(never)
            commits.start()
            asking = threading.Thread(target=lambda: (refused.acquire(until_set), commits.order.append("again")))
            asking.start()
            while refused not in gate._waiting:
                pass
            other.release()
            asking.join(30)
            assert commits.order == [0, "again"]
        commits.join()

    def test_a_thread_that_holds_a_permit_is_granted_another(self):
        gate = Gate()
        with permit_of(gate) as permit, permit_of(gate) as inner:
            permit.acquire(never)
            permit.acquire(never)
            inner.acquire(never)
            inner.release()
            assert gate._holder is permit
            assert (permit.is_held, inner.is_held) == (True, False)

    def test_a_commit_that_fails_releases_its_permit(self):
        gate = Gate()

        def commit() -> None:
            with permit_of(gate) as permit:
                permit.acquire(never)
                raise KeyError

        for _ in range(2):
            with pytest.raises(KeyError):
                commit()

    def test_a_commit_that_stops_waiting_leaves_the_queue(self):
        gate = Gate()

        def interrupted(granted: threading.Event, seconds: float) -> bool:
            raise KeyboardInterrupt

        with permit_of(gate) as holder:
            acquire_in_another_thread(holder)
            with pytest.raises(KeyboardInterrupt), permit_of(gate) as permit:
                permit.acquire(interrupted)
            with permit_of(gate) as permit:
                permit.acquire(lambda granted, seconds: True)  # goes out of turn
        with permit_of(gate) as permit:
            permit.acquire(never)

    def test_a_commit_that_hangs_is_overtaken(self, monkeypatch):
        gate = Gate()
        asked = []

        def timed_out(granted: threading.Event, seconds: float) -> bool:
            asked.append(seconds)
            if len(asked) == 2:
                hanging.active_since = 0.0
                monkeypatch.setattr("mat_vis_hub.gate.LONGEST_COMMIT", 0.0)
            return False

        with permit_of(gate) as hanging:
            acquire_in_another_thread(hanging)
            with permit_of(gate) as next_one:
                next_one.acquire(timed_out)
                assert asked == [75, 75]  # the first time it was not sending yet, so it was waited for
                hanging.release()
                with permit_of(gate) as third:
                    third.acquire(lambda granted, seconds: not granted.is_set())
                    assert gate._holder is next_one


class TestReopening:
    def test_a_refusal_closes_the_gate_for_the_time_that_it_named(self, time):
        gate = Gate()
        assert gate.close(100) == gate.reopens_at == 100

    def test_a_later_refusal_replaces_an_earlier_one(self, time):
        gate = Gate()
        gate.close(86400)
        assert gate.close(60) == gate.reopens_at == 60

    def test_a_commit_that_landed_opens_the_gate(self, time):
        gate = Gate()
        gate.close(86400)
        gate.open()
        assert gate.reopens_at < 0


class TestGates:
    def test_every_repository_of_every_endpoint_has_one_gate(self):
        gates = Gates()
        one = gates.of(HERE)
        assert gates.of(Repository(*HERE)) is one
        for other in (
            HERE._replace(repo_type="model"),
            HERE._replace(repo_id="you/others"),
            HERE._replace(endpoint="http://127.0.0.1:8080"),
        ):
            assert gates.of(other) is not one

    def test_an_open_gate_that_no_commit_uses_is_forgotten(self, time):
        gates = Gates()
        closed = [HERE._replace(repo_id=f"you/{number}") for number in range(3)]
        for repository in closed:
            gates.of(repository).close(60)
        for number in range(5000):
            gates.of(HERE._replace(repo_id=f"you/open-{number}"))
        gates.of(HERE)
        gc.collect()
        assert set(gates._gates) == {*closed, HERE}  # the latest one is kept
        assert all(gates.of(repository).reopens_at == 60 for repository in closed)

    def test_many_gates_that_have_reopened_are_forgotten(self, time):
        gates = Gates()
        for number in range(5000):
            gates.of(HERE._replace(repo_id=f"you/{number}")).close(1)
            time.advance(0.01)
        gc.collect()
        assert len(gates._gates) <= 1002

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_the_gates_of_a_forked_process_are_open(self, time):
        its_gate = gate.current.value.of(HERE)
        its_gate.close(1000)
        child = os.fork()
        if child == 0:
            os._exit(0 if gate.current.value.of(HERE).reopens_at < 0 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class TestWiderGate:
    """Two repositories whose commits count towards one quota."""

    @pytest.fixture
    def gates(self, time):
        gates = Gates()
        own = {name: gates.of(HERE._replace(repo_id=name)) for name in ("you/a", "you/b")}
        return own, {name: WiderGate(gate, gates.of("owner you")) for name, gate in own.items()}

    def test_is_closed_by_a_refusal_of_either(self, gates, time):
        _, wider = gates
        assert wider["you/a"].close(60) == time.now() + 60
        assert wider["you/b"].reopens_at == time.now() + 60

    def test_closes_the_repository_s_own_as_well_and_not_the_others(self, gates, time):
        own, wider = gates
        wider["you/a"].close(60)
        assert own["you/a"].reopens_at == time.now() + 60  # also for writers whose budget counts something else
        assert own["you/b"].reopens_at < time.now()

    def test_is_closed_while_the_repository_s_own_is(self, gates, time):
        own, wider = gates
        own["you/b"].close(60)
        assert wider["you/b"].reopens_at == time.now() + 60
        assert wider["you/a"].reopens_at < time.now()

    def test_is_opened_by_a_commit_that_lands_to_either(self, gates, time):
        own, wider = gates
        wider["you/a"].close(60)
        wider["you/b"].open()
        wider["you/a"].open()
        assert max(gate.reopens_at for gate in (*own.values(), *wider.values())) < time.now()
