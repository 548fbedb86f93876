"""Each process makes its own values and connections, and no connection crosses a fork."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from mat_vis_hub._internal.per_process import Connection, PerProcess

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def in_a_child(check: Callable[[], bool]) -> bool:
    """What `check` says in a forked child."""
    child = os.fork()
    if child == 0:
        threading.Timer(20, os._exit, (2,)).start()
        passed = False
        try:
            passed = check()
        finally:
            os._exit(0 if passed else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Socket:
    """Stands for a driver's connection."""

    made: ClassVar[list[Socket]] = []

    def __init__(self) -> None:
        self.is_open = True
        self.made.append(self)

    def close(self) -> None:
        self.is_open = False


@pytest.fixture(autouse=True)
def sockets():
    Socket.made = []
    return Socket.made


class TestPerProcess:
    def test_value_is_made_on_first_use_and_once(self, sockets):
        one = PerProcess(Socket)
        assert one.if_made is None
        assert sockets == []
        assert one.value is one.value is one.if_made
        assert len(sockets) == 1

    def test_threads_get_the_same_value(self, sockets):
        one, barrier = PerProcess(Socket), threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            values = list(pool.map(lambda _: (barrier.wait() and None) or one.value, range(8)))
        assert set(values) == set(sockets)
        assert len(sockets) == 1

    def test_one_value_may_need_another(self):
        inner = PerProcess(dict)
        assert PerProcess(lambda: [inner.value]).value == [{}]

    @pytest.mark.parametrize("twin", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
    def test_copy_comes_without_the_value(self, twin):
        one = PerProcess(Socket)
        assert twin(one).value is not one.value

    @needs_fork
    def test_forked_child_makes_its_own(self):
        one = PerProcess(dict)
        one.value["parent"] = True
        assert in_a_child(lambda: one.if_made is None and one.value == {} and one.value is one.value)
        assert one.value == {"parent": True}

    @needs_fork
    def test_forked_child_is_not_blocked_by_a_value_in_the_making(self):
        making, go_on = threading.Event(), threading.Event()

        def make() -> int:
            if os.getpid() == parent:
                making.set()
                go_on.wait(60)
            return os.getpid()

        parent, one = os.getpid(), PerProcess(make)
        thread = threading.Thread(target=lambda: one.value)
        thread.start()
        making.wait(60)
        try:
            assert in_a_child(lambda: one.value == os.getpid())
        finally:
            go_on.set()
            thread.join()


class TestConnection:
    def test_is_made_on_first_use_and_kept(self, sockets):
        connection = Connection(Socket)
        assert sockets == []
        for _ in range(2):
            with connection.held() as held:
                assert held is sockets[0]
        assert len(sockets) == 1

    def test_is_closed_after_a_failure_and_then_made_anew(self, sockets):
        connection = Connection(Socket)
        with pytest.raises(KeyboardInterrupt), connection.held():
            raise KeyboardInterrupt
        with connection.held() as held:
            assert held.is_open
        assert [socket.is_open for socket in sockets] == [False, True]

    def test_is_used_by_one_thread_at_a_time(self):
        connection, users = Connection(Socket), []

        def use(_: int) -> int:
            with connection.held():
                users.append(1)
                most = len(users)
                users.pop()
                return most

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(use, range(200))) == {1}

    def test_thread_that_waits_too_long_gets_an_error(self, monkeypatch):
        monkeypatch.setattr("mat_vis_hub._internal.per_process._PATIENCE", 0.001)
        connection = Connection(Socket)
        with connection.held(), ThreadPoolExecutor(1) as pool, pytest.raises(TimeoutError, match="another thread"):
            pool.submit(lambda: connection.held().__enter__()).result()

    def test_can_be_closed_and_used_again(self, sockets):
        connection = Connection(Socket)
        connection.close()
        with connection.held():
            pass
        connection.close()
        assert not sockets[0].is_open
        with connection.held() as held:
            assert held.is_open

    def test_is_closed_with_the_object_that_owns_it(self, sockets):
        connection = Connection(Socket)
        with connection.held():
            pass
        del connection
        gc.collect()
        assert not sockets[0].is_open

    def test_pickles_without_being_open(self, sockets):
        connection = Connection(Socket)
        with connection.held():
            pass
        with pickle.loads(pickle.dumps(connection)).held() as held:
            assert held is sockets[1]

    @needs_fork
    def test_idle_connection_is_closed_before_a_fork_and_both_sides_make_their_own(self, sockets):
        connection = Connection(Socket)
        with connection.held():
            pass

        def child_uses_its_own() -> bool:
            with connection.held() as held:
                return held.is_open and len(sockets) == 2

        assert in_a_child(child_uses_its_own)
        assert [socket.is_open for socket in sockets] == [False]
        with connection.held() as held:
            assert held.is_open

    @needs_fork
    def test_fork_waits_for_a_thread_that_is_using_the_connection(self, sockets):
        connection, inside, leave = Connection(Socket), threading.Event(), threading.Event()

        def use() -> None:
            with connection.held():
                inside.set()
                leave.wait(60)

        thread = threading.Thread(target=use)
        thread.start()
        inside.wait(60)
        release = threading.Timer(0.05, leave.set)
        release.start()
        assert in_a_child(lambda: leave.is_set() and not sockets[0].is_open)
        thread.join()

    @needs_fork
    def test_threads_may_fork_at_once(self):
        connections = [Connection(Socket) for _ in range(3)]

        def fork(_: int) -> bool:
            for connection in connections:
                with connection.held():
                    pass
            return in_a_child(lambda: True)

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(fork, range(20)))

    @needs_fork
    def test_child_that_was_forked_inside_leaves_its_parents_connection_open(self, sockets):
        connection = Connection(Socket)
        with connection.held() as ours:

            def child_uses_its_own() -> bool:
                with connection.held() as held:
                    return held is not ours and ours.is_open

            assert in_a_child(child_uses_its_own)
            assert ours.is_open
