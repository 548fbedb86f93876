"""The count of a fleet in a Postgres: each decision a transaction, by the server's clock."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from mat_vis_hub.budget import BudgetError, from_url
from tests.budget import servers
from tests.budget.conftest import REPOSITORY as HERE

psycopg = pytest.importorskip("psycopg")


def test_threads_and_connections_that_ask_at_once_get_no_slot_twice(postgres_place):
    budgets = [postgres_place.budget(limit=8, window=60) for _ in range(4)]
    with ThreadPoolExecutor(16) as threads:
        slots = list(threads.map(lambda number: budgets[number % 4].reserve(HERE), range(32)))
    assert sorted(round(slot.wait / 60) for slot in slots) == [number // 8 for number in range(32)]


def test_a_transaction_that_dies_leaves_nothing_behind(postgres_place):
    budget, other = (postgres_place.budget(limit=1, window=60) for _ in range(2))

    def dies() -> None:
        with budget.log(HERE) as log:
            log.reserve()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dies()
    assert other.reserve(HERE).wait == 0


def test_a_table_that_somebody_keeps_locked_is_said_within_seconds(postgres_place):
    budget, other = (postgres_place.budget(limit=1, window=60) for _ in range(2))
    with budget.log(HERE), pytest.raises(BudgetError, match="lock timeout"):
        other.reserve(HERE)
    assert other.reserve(HERE).wait == 0


def test_a_connection_that_is_cut_is_made_anew(postgres_place, postgres_url):
    budget = postgres_place.budget(limit=1, window=60)
    budget.reserve(HERE)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mat_vis_hub'"
        )
    with pytest.raises(BudgetError):
        budget.reserve(HERE)
    assert budget.reserve(HERE).wait == pytest.approx(60, abs=2)


def test_a_pickled_budget_shares_the_count(postgres_place):
    budget = postgres_place.budget(limit=1, window=60)
    budget.reserve(HERE)
    assert pickle.loads(pickle.dumps(budget)).reserve(HERE).wait > 0


def test_a_server_whose_time_zone_differs_counts_alike(postgres_place):
    budget = postgres_place.budget(limit=1, window=60)
    budget.reserve(HERE)
    zoned = from_url(f"{postgres_place.url}?limit=1&window=60&options=-c%20TimeZone%3DAsia/Tokyo")
    assert zoned.reserve(HERE).wait == pytest.approx(60, abs=2)


def test_one_that_is_stopped_is_said(postgres_binaries):
    with servers.postgres(postgres_binaries) as url:
        budget = from_url(url)
    with pytest.raises(BudgetError, match="Is the Postgres server running"):
        budget.reserve(HERE)
