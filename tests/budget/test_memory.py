"""The count of one process: all its threads, all its budgets, and none of another process's locks."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mat_vis_hub.budget import from_url
from mat_vis_hub.testing import virtual_time
from tests.budget.conftest import REPOSITORY as HERE


@pytest.fixture(autouse=True)
def time():
    with virtual_time() as time:
        yield time


def test_threads_share_the_count_and_no_slot_is_handed_out_twice():
    budget = from_url("memory://?limit=8&window=60")
    with ThreadPoolExecutor(16) as threads:
        slots = list(threads.map(lambda _: budget.reserve(HERE), range(32)))
    waits = sorted(slot.wait for slot in slots)
    assert (
        waits
        == [0] * 8
        + [pytest.approx(60, abs=0.1)] * 8
        + [pytest.approx(120, abs=0.1)] * 8
        + [pytest.approx(180, abs=0.1)] * 8
    )
    assert len({slot.id for slot in slots}) == 32


def test_the_time_that_a_test_makes_up_has_a_count_of_its_own():
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_begins_anew_even_while_a_thread_decides():
    budget = from_url("memory://?limit=1&window=60")
    budget.reserve(HERE)
    with budget.log(HERE):  # its lock is held now, and for ever in the child
        child = os.fork()
        if child == 0:
            threading.Timer(10, os._exit, (2,)).start()
            os._exit(0 if budget.reserve(HERE).wait == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
