"""The count of one process: all its threads and all its budgets share it, and a forked child begins its own."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mat_vis_hub.budget import from_url, memory
from mat_vis_hub.testing import virtual_time
from tests.budget.conftest import REPOSITORY as HERE


@pytest.fixture(autouse=True)
def time():
    with virtual_time() as time:
        yield time


def test_threads_that_reserve_at_once_get_no_place_twice():
    budget = from_url("memory://?limit=8&window=60")
    with ThreadPoolExecutor(16) as threads:
        reservations = list(threads.map(lambda _: budget.reserve(HERE), range(32)))
    waits = sorted(round(reservation.wait / 60) for reservation in reservations)
    assert waits == [number // 8 for number in range(32)]
    assert len({reservation.id for reservation in reservations}) == 32


def test_virtual_time_has_a_count_of_its_own():
    budget = from_url("memory://?limit=1&window=60")
    budget.reserve(HERE)
    with virtual_time():
        assert budget.reserve(HERE).wait == 0
    assert budget.reserve(HERE).wait > 0


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda budget: pickle.loads(pickle.dumps(budget))])
def test_a_copy_shares_the_count(twin):
    budget = from_url("memory://?limit=1&window=60")
    budget.reserve(HERE)
    assert twin(budget).reserve(HERE).wait > 0


def test_repositories_whose_windows_are_over_are_dropped(time):
    budget = from_url("memory://?limit=1&window=60")
    for number in range(1000):
        budget.reserve(HERE._replace(repo_id=f"you/{number}"))
        time.advance(1)
    assert len(memory._tables.value.current) <= 400  # of a thousand: those of the last few windows
    assert budget.reserve(HERE._replace(repo_id="you/999")).wait > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_while_a_thread_decides_begins_anew():
    budget = from_url("memory://?limit=1&window=60")
    budget.reserve(HERE)
    deciding, go_on = threading.Event(), threading.Event()

    def decide(window) -> None:
        deciding.set()
        go_on.wait(60)

    thread = threading.Thread(target=lambda: budget._decide(HERE, decide))
    thread.start()
    deciding.wait(60)  # the lock is held now, and for ever in the child
    child = os.fork()
    if child == 0:
        threading.Timer(20, os._exit, (2,)).start()
        os._exit(0 if budget.reserve(HERE).wait == 0 else 1)
    go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
