"""The lease of a shared budget: one writer at a time, given back when its holder dies or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mat_vis_hub.budget import BudgetError, FailOpenBudget, as_budget, from_url, sqlite
from tests.budget.conftest import REPOSITORY as HERE
from tests.budget.servers import free_port

HOLDER = """
import sys
from mat_vis_hub.budget import Repository, from_url
lease = from_url(sys.argv[1]).lease(Repository("https://huggingface.co", "dataset", "you/textures"))
"""


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/budget.db"
    return request.getfixturevalue("redis_url" if request.param == "redis" else "empty_postgres_url")


@pytest.fixture
def lease_of(url):
    """Makes the lease of another writer each time. All are released in the end."""
    leases = []

    def make(repository=HERE):
        leases.append(from_url(url).lease(repository))
        return leases[-1]

    yield make
    for lease in leases:
        lease.release()


@contextmanager
def holder(url: str, code: str) -> Iterator[subprocess.Popen]:
    """Another process that has run `code`, which prints. Killed with -9 on leaving."""
    command = [sys.executable, "-c", HOLDER + code, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "True\n"
            yield process
        finally:
            process.kill()


def acquire(lease) -> bool:
    """Ask until it is ours. The server may take a moment to notice that a process is dead."""
    return any(lease.acquire() for _ in range(1000))


class TestOneWriterAtATime:
    def test_the_others_get_it_when_it_is_released(self, lease_of):
        one, other = lease_of(), lease_of()
        assert (one.acquire(), other.acquire()) == (True, False)
        one.release()
        assert other.acquire()

    def test_it_can_be_renewed(self, lease_of):
        one, other = lease_of(), lease_of()
        assert (one.acquire(), one.acquire(), other.acquire()) == (True, True, False)
        one.release()
        assert other.acquire()

    def test_repositories_have_nothing_to_do_with_each_other(self, lease_of):
        others = [HERE._replace(repo_id="you/others"), HERE._replace(repo_type="model"), HERE]
        assert [lease_of(repository).acquire() for repository in others] == [True] * 3

    def test_one_that_was_never_taken_can_be_released(self, lease_of):
        one, other = lease_of(), lease_of()
        one.release()
        assert other.acquire()
        one.release()
        assert not lease_of().acquire()

    def test_another_process_holds_it(self, url, lease_of):
        with holder(
            url, "print(lease.acquire(), flush=True); sys.stdin.readline(); lease.release(); print(flush=True)"
        ) as it:
            lease = lease_of()
            assert not lease.acquire()
            it.stdin.write("\n")
            it.stdin.flush()
            it.stdout.readline()
            assert lease.acquire()


class TestFairness:
    @pytest.fixture
    def url(self, tmp_path):
        """Postgres has a queue of its own, which holds all that wait."""
        return f"sqlite:///{tmp_path}/budget.db"

    def check(self, lease_of):
        one, waits, comes_later = lease_of(), lease_of(), lease_of()
        assert (one.acquire(), waits.acquire(), comes_later.acquire()) == (True, False, False)
        one.release()
        again = lease_of()
        assert (again.acquire(), comes_later.acquire(), waits.acquire()) == (False, False, True)
        waits.release()
        assert again.acquire()

    def test_one_who_waits_gets_ahead_of_one_who_has_just_released_it(self, lease_of):
        self.check(lease_of)

    def test_in_redis(self, redis_url, monkeypatch):
        monkeypatch.setattr("mat_vis_hub.budget.redis._NEXT", 1000.0)  # however slow this machine is
        leases = []
        self.check(lambda: leases.append(from_url(redis_url).lease(HERE)) or leases[-1])

    def test_one_who_stops_waiting_holds_up_nobody(self, lease_of):
        one, gives_up, other = lease_of(), lease_of(), lease_of()
        assert (one.acquire(), gives_up.acquire()) == (True, False)
        gives_up.release()
        one.release()
        assert other.acquire()


class TestDeath:
    def test_a_holder_that_is_killed_gives_it_back(self, url, lease_of):
        if "redis" in url:
            pytest.skip("a key expires by its time alone, see below")
        with holder(url, "print(lease.acquire(), flush=True); sys.stdin.read()") as process:
            lease = lease_of()
            assert not lease.acquire()
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert acquire(lease)

    def test_one_who_is_next_and_is_killed_holds_up_nobody(self, url, lease_of):
        if "redis" in url:
            pytest.skip("a key expires by its time alone, see below")
        first = lease_of()
        assert first.acquire()
        with holder(url, "print(not lease.acquire(), flush=True); sys.stdin.read()") as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
            first.release()
            assert acquire(lease_of())

    def test_the_keys_of_redis_expire(self, redis_url):
        import redis

        leases = [from_url(redis_url).lease(HERE) for _ in range(2)]
        assert [lease.acquire() for lease in leases] == [True, False]
        with redis.Redis.from_url(redis_url) as client:
            expiries = {key.rpartition(b":")[2]: client.pttl(key) for key in client.keys("*")}
            assert 60_000 < expiries[b"lease"] <= 75_000
            assert 0 < expiries.get(b"next", 1) <= 3_000  # it may have expired already
            client.delete(*client.keys("*"))  # as if they had expired
        assert leases[1].acquire()
        leases[0].release()  # which is not the holder any more
        assert not leases[0].acquire()

    def test_a_session_of_postgres_that_hangs_is_ended_by_the_server(self, empty_postgres_url, monkeypatch):
        hanging, other = (from_url(empty_postgres_url).lease(HERE) for _ in range(2))
        with monkeypatch.context() as patched:
            patched.setattr("mat_vis_hub.budget.postgres.LONGEST_COMMIT", 0.05)
            assert hanging.acquire()
        assert acquire(other)
        assert not hanging.acquire()  # on a new connection
        other.release()
        assert acquire(hanging)
        hanging.release()

    @pytest.mark.parametrize("waiting", [1, 2])
    def test_a_process_that_hangs_with_a_file_lock_is_waited_for_once(self, tmp_path, monkeypatch, waiting):
        url = f"sqlite:///{tmp_path}/budget.db"
        with holder(url, "print(lease.acquire(), flush=True); sys.stdin.read()"):
            leases = [from_url(url).lease(HERE) for _ in range(waiting)]
            assert [lease.acquire() for lease in leases] == [False] * waiting
            monkeypatch.setattr(sqlite, "LONGEST_COMMIT", 0.0)
            assert [lease.acquire() for lease in leases] == [True] * waiting
            for lease in leases:
                lease.release()
            monkeypatch.setattr(sqlite, "LONGEST_COMMIT", 1e9)
            later = from_url(url).lease(HERE)
            assert later.acquire()
            later.release()
        lease = from_url(url).lease(HERE)
        assert lease.acquire()
        lease.release()


class TestFiles:
    def test_no_file_is_left(self, tmp_path):
        with from_url(f"sqlite:///{tmp_path}/budget.db") as budget:
            budget.open()
            before = sorted(tmp_path.iterdir())
            leases = [budget.lease(HERE) for _ in range(2)]
            assert [lease.acquire() for lease in leases] == [True, False]
            assert sorted(tmp_path.iterdir()) != before
            for lease in leases:
                lease.release()
            assert sorted(tmp_path.iterdir()) == before

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_child_does_not_hold_what_its_parent_held(self, tmp_path):
        url = f"sqlite:///{tmp_path}/budget.db"
        code = """
import os, time
print(lease.acquire(), flush=True)
if os.fork():
    sys.stdin.read()
lease.release()
print("child", flush=True)
sys.stdin.read()
"""
        with holder(url, code) as parent:
            assert parent.stdout.readline() == "child\n"
            lease = from_url(url).lease(HERE)
            assert not lease.acquire()  # the child has not released its parent's
            parent.send_signal(signal.SIGKILL)
            os.waitid(os.P_PID, parent.pid, os.WEXITED | os.WNOWAIT)
            assert acquire(lease)  # although the child lives
            lease.release()


class Broken:
    """A budget with a lease that fails."""

    def __init__(self) -> None:
        self.budget = from_url("memory://?limit=2&window=3600")
        self.asked = 0
        self.strict = False

    def __getattr__(self, name):
        return getattr(self.budget, name)

    def lease(self, repository):
        return self

    def acquire(self) -> bool:
        self.asked += 1
        raise BudgetError("The lease cannot be had.")

    def release(self) -> None:
        raise BudgetError("The lease cannot be given back.")


class TestFailOpen:
    def test_a_lease_that_cannot_be_had_is_done_without_and_the_count_goes_on(self, time, caplog):
        broken = Broken()
        budget = FailOpenBudget(broken)
        for _ in range(3):
            if (lease := budget.lease(HERE)) is not None:
                assert lease.acquire()
                lease.release()
        assert broken.asked == 1
        assert [budget.reserve(HERE).wait > 0 for _ in range(3)] == [False, False, True]
        time.advance(31)
        assert budget.lease(HERE).acquire()
        assert broken.asked == 2
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "The lease cannot be had" in caplog.text

    def test_a_strict_budget_raises(self, time):
        broken = Broken()
        broken.strict = True
        with pytest.raises(BudgetError):
            FailOpenBudget(broken).lease(HERE).acquire()

    def test_a_bug_is_raised(self, time):
        broken = Broken()
        broken.acquire = lambda: [][0]
        with pytest.raises(IndexError):
            FailOpenBudget(broken).lease(HERE).acquire()

    @pytest.mark.parametrize("url", ["memory://", "hub://"])
    def test_a_budget_of_one_process_has_none(self, url):
        assert as_budget(url).lease(HERE) is None

    def test_servers_that_are_gone(self, caplog):
        for scheme in ("redis", "postgresql"):
            pytest.importorskip({"redis": "redis", "postgresql": "psycopg"}[scheme])
            budget = FailOpenBudget(from_url(f"{scheme}://user:s3cret@127.0.0.1:{free_port()}/0"))
            lease = budget.lease(HERE)
            assert lease.acquire()
            lease.release()
        assert len(caplog.records) == 2
        assert "s3cret" not in caplog.text
