"""The count of one machine in a file: shared by its processes, and whole whenever one dies."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mat_vis_hub._internal import clock
from mat_vis_hub.budget import BudgetError, Reservation, from_url, sqlite
from tests.budget.conftest import REPOSITORY as HERE

WRITER = """
import sys
import threading
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
    return f"sqlite:///{tmp_path}/budget.db?limit=2&window=3600"


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
        assert budget.reserve(HERE).wait > 0


@pytest.mark.parametrize(
    "dies",
    [
        "budget.reserve(here); print(flush=True); sys.stdin.read()",
        "budget.confirm(here, budget.reserve(here)); print(flush=True); sys.stdin.read()",
        "budget._decide(here, lambda window: (window.reserve(), print(flush=True), sys.stdin.read()))",
    ],
    ids=["before it commits", "after it has committed", "in a transaction"],
)
def test_a_writer_killed_at_any_point_costs_one_reservation_at_most_and_locks_nobody_out(url, budget, dies):
    with writer(url, dies) as other:
        other.stdout.readline()
        other.send_signal(signal.SIGKILL)
        other.wait()
    waits = [budget.reserve(HERE).wait for _ in range(3)]
    assert waits[0] == 0
    assert waits[2] > 0


def test_a_file_that_another_process_keeps_locked_is_reported(url, budget, monkeypatch):
    monkeypatch.setattr(sqlite, "_TRIES", 3)
    with writer(url, "budget._decide(here, lambda window: (print(flush=True), sys.stdin.read()))") as other:
        other.stdout.readline()
        with pytest.raises(BudgetError, match=r"budget.db\?\S+ cannot be used: database is locked"):
            budget.reserve(HERE)
    assert budget.reserve(HERE).wait == 0


def test_a_damaged_file_is_reported_and_once_deleted_the_count_begins_anew(url, budget, tmp_path):
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


def test_a_full_disk_is_reported_and_what_was_counted_stays(budget):
    reservation = budget.reserve(HERE)
    with budget._file.held() as file:
        file.connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(BudgetError, match="disk is full"):
        fill(budget)
    budget.confirm(HERE, reservation)
    assert budget.status(HERE).used >= 1


@pytest.mark.parametrize("path", ["missing/budget.db", ""])
def test_a_file_that_cannot_be_created_is_reported(tmp_path, path):
    with pytest.raises(BudgetError, match=r"unable to open database file\. .*folder that exists"):
        from_url(f"sqlite:///{tmp_path}/{path}").reserve(HERE)


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_wall_clock_that_jumps_changes_nothing(budget, time, monkeypatch, jump):
    assert [budget.reserve(HERE).wait for _ in range(2)] == [0, 0]
    monkeypatch.setattr(type(time), "wall", lambda self: jump + self._wall + self.now())
    time.advance(20)
    assert budget.reserve(HERE).wait == pytest.approx(3580, abs=0.1)


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
    assert budget.reserve(HERE).wait == pytest.approx(3600, abs=0.1)  # it dies waiting
    with monkeypatch.context() as patched:  # undone before virtual time ends
        patched.setattr(clock, "current", Rebooted(time, uptime, down=20))
        patched.setattr(sqlite, "_boot", lambda: "the next")
        assert budget.reserve(HERE).wait == pytest.approx(3580, abs=0.1)


def test_a_monotonic_clock_that_starts_afresh_unannounced_is_noticed(budget, time, monkeypatch):
    time.advance(1_000_000)
    budget.confirm(HERE, budget.reserve(HERE))
    with monkeypatch.context() as patched:  # undone before virtual time ends
        patched.setattr(clock, "current", Rebooted(time, 5.0, down=3601))
        assert [budget.reserve(HERE).wait for _ in range(2)] == [0, 0]


def test_a_pickled_budget_shares_the_count(budget, time):
    budget.reserve(HERE)
    twin = pickle.loads(pickle.dumps(budget))
    assert [twin.reserve(HERE).wait for _ in range(2)] == [0, pytest.approx(3600, abs=0.1)]
    twin.close()


def in_a_child(check) -> bool:
    """What `check` says in a forked child."""
    child = os.fork()
    if child == 0:
        threading.Timer(30, os._exit, (2,)).start()
        passed = False
        try:
            passed = check()
        finally:
            os._exit(0 if passed else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestFork:
    def test_parent_and_children_share_the_count(self, budget):
        assert in_a_child(lambda: budget.reserve(HERE).wait == 0)
        assert budget.reserve(HERE).wait == 0
        assert in_a_child(lambda: budget.reserve(HERE).wait > 0)
        assert budget.reserve(HERE).wait > 0

    def test_children_that_are_forked_while_a_thread_is_in_a_transaction_can_decide(self, tmp_path):
        """SQLite keeps its locks in the memory of the process. A child that inherited one could never get it."""
        budget, stop = from_url(f"sqlite:///{tmp_path}/budget.db?limit=1000000&window=3600"), threading.Event()

        def decide() -> None:
            while not stop.is_set():
                budget.confirm(HERE, budget.reserve(HERE))

        thread = threading.Thread(target=decide)
        thread.start()
        try:
            assert all(in_a_child(lambda: budget.reserve(HERE).wait == 0) for _ in range(20))
        finally:
            stop.set()
            thread.join()
        in_the_file = from_url(f"sqlite:///{tmp_path}/budget.db?limit=1000000&window=3600").status(HERE).used
        assert in_the_file == budget.status(HERE).used >= 20

    def test_child_that_outlives_its_parent_and_a_third_process_lose_nothing(self, url, budget):
        """The last connection of a file tidies it up: no process may mistake itself for that one."""
        code = """
import os
budget.reserve(here)
if os.fork():
    os._exit(0)
print("orphan", flush=True); input()
print([budget.reserve(here).wait == 0 for _ in range(2)], flush=True)
"""
        with writer(url, code) as other:
            assert other.stdout.readline() == "orphan\n"
            with from_url(url) as third:
                assert third.status(HERE).used == 1
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.stdout.readline() == "[True, False]\n"
        assert budget.status(HERE).used == 3


def test_processes_that_reserve_at_once_get_no_place_twice(url, budget):
    code = "input(); print([budget.reserve(here).wait for _ in range(50)], flush=True)"
    command = [sys.executable, "-c", WRITER + code, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for process in (one, other):
            process.stdin.write("\n")
            process.stdin.flush()
        waits = sorted(wait for process in (one, other) for wait in eval(process.stdout.readline()))
    assert [round(wait / 3600) for wait in waits] == [number // 2 for number in range(100)]


def test_a_file_that_is_deleted_while_open_is_noticed_and_made_again(url, budget, tmp_path, caplog):
    budget.reserve(HERE)
    damage(tmp_path / "budget.db", b"")
    (tmp_path / "budget.db").unlink()
    assert budget.reserve(HERE).wait == 0
    assert "deleted or replaced while in use" in caplog.text
    with from_url(url) as other:
        assert [other.reserve(HERE).wait == 0 for _ in range(2)] == [True, False]
    assert budget.reserve(HERE).wait > 0  # one count again
    assert len(caplog.records) == 1


def test_a_file_of_another_version_does_not_matter(url, tmp_path):
    with sqlite3.connect(tmp_path / "budget.db") as connection:
        connection.execute("CREATE TABLE repositories (name TEXT PRIMARY KEY, quota_limit INTEGER)")
        connection.execute("CREATE TABLE mat_vis_hub_v2_repositories (something_else TEXT)")
    connection.close()
    with from_url(url) as budget:
        assert [budget.reserve(HERE).wait == 0 for _ in range(3)] == [True, True, False]


def rows(tmp_path) -> list[int]:
    connection = sqlite3.connect(tmp_path / "budget.db")
    tables = ("repositories", "counted", "waiting", "open_places")
    counts = [connection.execute(f"SELECT count(*) FROM mat_vis_hub_v1_{table}").fetchone()[0] for table in tables]
    connection.close()
    return counts


def test_what_has_left_the_window_is_deleted(budget, time, tmp_path):
    for _ in range(10):
        budget.reserve(HERE)
        time.advance(4000)
    assert rows(tmp_path) == [1, 1, 0, 0]


def test_repositories_whose_windows_are_over_are_dropped(budget, time, tmp_path):
    for number in range(60):
        budget.reserve(HERE._replace(repo_id=f"you/{number}"))
        time.advance(3600)
    assert max(rows(tmp_path)) <= 10
