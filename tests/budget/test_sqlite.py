"""The count of one machine in a file: shared by its processes, and whole whenever one dies."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time as real_time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mat_vis_hub._internal import clock
from mat_vis_hub.budget import BudgetError, Reservation, from_url, sqlite
from tests.budget.conftest import REPOSITORY as HERE

WRITER = """
import sys
from mat_vis_hub.budget import Repository, from_url
budget, here = from_url(sys.argv[1]), Repository("https://huggingface.co", "dataset", "you/textures")
"""


@contextmanager
def writer(url: str, code: str) -> Iterator[subprocess.Popen]:
    """Another process with a `budget`, stopped wherever it prints; killed with -9 on leaving."""
    command = [sys.executable, "-c", WRITER + code, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/budget.db?limit=2&window=60"


@pytest.fixture
def budget(url):
    budget = from_url(url)
    yield budget
    budget.close()


def damage(path, content: bytes = b"this is no database, " * 100) -> None:
    path.write_bytes(content)
    for other in path.parent.glob(f"{path.name}-*"):
        other.unlink()


def test_processes_share_the_count(url, budget):
    with writer(url, "print(budget.reserve(here).wait, budget.reserve(here).wait, flush=True); input()") as other:
        assert other.stdout.readline() == "0.0 0.0\n"
        assert budget.reserve(HERE).wait == pytest.approx(60, abs=5)


@pytest.mark.parametrize(
    "dies",
    [
        "slot = budget.reserve(here); print(flush=True); sys.stdin.read()",
        "slot = budget.reserve(here); budget.confirm(here, slot); print(flush=True); sys.stdin.read()",
        "with budget.log(here) as log: log.move('half', 'c'); print(flush=True); sys.stdin.read()",
        "with budget.log(here) as log: log.reserve(); print(flush=True); sys.stdin.read()",
    ],
    ids=["before it commits", "after it committed", "in a transaction", "at the end of one"],
)
def test_a_writer_killed_at_any_point_costs_a_slot_at_most_and_locks_nobody_out(url, budget, dies):
    with writer(url, dies) as other:
        other.stdout.readline()
        other.send_signal(signal.SIGKILL)
        other.wait()
    waits = [budget.reserve(HERE).wait for _ in range(3)]
    assert waits[0] == 0
    assert waits[2] == pytest.approx(60, abs=10)


def test_a_file_that_another_process_keeps_locked_is_said_within_seconds(url, budget):
    began = real_time.monotonic()
    with writer(url, "with budget.log(here): print(flush=True); sys.stdin.read()") as other:
        other.stdout.readline()
        with pytest.raises(BudgetError, match=r"budget.db cannot be used: database is locked"):
            budget.reserve(HERE)
    assert real_time.monotonic() - began < 5
    assert budget.reserve(HERE).wait == 0


def test_a_damaged_file_is_said_and_once_deleted_the_count_begins_anew(url, budget, tmp_path):
    budget.reserve(HERE)
    budget.close()
    damage(tmp_path / "budget.db")
    with pytest.raises(BudgetError, match=r"not a database\. .*may be deleted"):
        budget.reserve(HERE)
    (tmp_path / "budget.db").unlink()
    assert budget.reserve(HERE).wait == 0


def fill(budget) -> None:
    for number in range(1000):
        budget.confirm(HERE, Reservation(f"{number:0200d}", 0, 0, 2))


def test_a_full_disk_is_said_and_what_was_counted_stays(budget):
    slot = budget.reserve(HERE)
    with budget._connections.held() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(BudgetError, match="disk is full"):
        fill(budget)
    budget.confirm(HERE, slot)
    assert budget.status(HERE).used >= 1


@pytest.mark.parametrize("path", ["missing/budget.db", ""])
def test_a_file_that_cannot_be_made_is_said_at_start(tmp_path, path):
    with pytest.raises(BudgetError, match=r"unable to open database file\. .*folder that exists"):
        from_url(f"sqlite:///{tmp_path}/{path}")


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_wall_clock_that_jumps_changes_nothing(budget, time, monkeypatch, jump):
    assert [budget.reserve(HERE).wait for _ in range(2)] == [0, 0]
    monkeypatch.setattr(type(time), "wall", lambda self: jump + self._wall + self.now())
    time.advance(20)
    assert budget.reserve(HERE).wait == pytest.approx(40, abs=0.1)


class Rebooted(clock.Clock):
    """The clocks after the machine has started afresh, `down` seconds after another clock stood still."""

    def __init__(self, before: clock.Clock, uptime: float, down: float) -> None:
        self._uptime = uptime
        self._wall = before.wall() + down

    def monotonic(self) -> float:
        return self._uptime

    def wall(self) -> float:
        return self._wall


@pytest.mark.parametrize("uptime", [5.0, 5000.0])
def test_after_a_start_of_the_machine_what_was_counted_still_counts_and_nobody_is_stuck(
    budget, time, monkeypatch, uptime
):
    time.advance(1000)
    for _ in range(2):
        budget.confirm(HERE, budget.reserve(HERE))
    assert budget.reserve(HERE).wait == pytest.approx(60, abs=0.1)  # it died waiting
    with monkeypatch.context() as patched:  # undone before virtual time ends
        patched.setattr(clock, "current", Rebooted(time, uptime, down=20))
        patched.setattr(sqlite, "_boot", lambda: "the next")
        assert budget.reserve(HERE).wait == pytest.approx(40, abs=0.1)


def test_a_monotonic_clock_that_starts_afresh_unannounced_is_noticed(budget, time, monkeypatch):
    time.advance(1_000_000)
    budget.confirm(HERE, budget.reserve(HERE))
    with monkeypatch.context() as patched:  # undone before virtual time ends
        patched.setattr(clock, "current", Rebooted(time, 5.0, down=3600))
        assert [budget.reserve(HERE).wait for _ in range(2)] == [0, 0]


def test_a_pickled_budget_shares_the_count(budget, time):
    budget.reserve(HERE)
    twin = pickle.loads(pickle.dumps(budget))
    assert [twin.reserve(HERE).wait for _ in range(2)] == [0, pytest.approx(60, abs=0.1)]
    twin.close()


def _in_a_child(budget, results) -> None:
    results.put(budget.reserve(HERE).wait)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_opens_the_file_for_itself(budget):
    budget.reserve(HERE)
    fork = multiprocessing.get_context("fork")
    results = fork.SimpleQueue()
    with budget._connections.held():  # the child inherits its lock as well
        child = fork.Process(target=_in_a_child, args=(budget, results))
        child.start()
        child.join(30)
    assert results.get() == 0
    assert budget.reserve(HERE).wait == pytest.approx(60, abs=5)


def test_two_processes_at_once_get_no_slot_twice(url, budget):
    code = "input(); print([budget.reserve(here).wait for _ in range(50)], flush=True)"
    command = [sys.executable, "-c", WRITER + code, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for process in (one, other):
            process.stdin.write("\n")
            process.stdin.flush()
        waits = sorted(wait for process in (one, other) for wait in eval(process.stdout.readline()))
    assert [round(wait / 60) for wait in waits] == [number // 2 for number in range(100)]


def test_what_has_left_the_window_is_deleted(budget, time):
    for _ in range(10):
        budget.reserve(HERE)
        time.advance(100)
    with budget.log(HERE) as log:
        assert len(log.entries()) <= 1
    with sqlite3.connect(budget.shown.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT count(*) FROM repositories").fetchone() == (1,)
    connection.close()
