"""The count of a fleet in a Postgres: each decision a transaction, by the server's clock."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from mat_vis_hub.budget import BudgetError, from_url
from tests.budget import servers
from tests.budget.conftest import REPOSITORY as HERE

psycopg = pytest.importorskip("psycopg")
postgres = pytest.importorskip("mat_vis_hub.budget.postgres")


@pytest.fixture
def url(empty_postgres_url):
    return f"{empty_postgres_url}?limit=8&window=3600"


@pytest.fixture
def budget(url):
    with from_url(url) as budget:
        yield budget


def cut_connections(url: str) -> int:
    """As a server does with idle ones; returns how many."""
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mat_vis_hub'"
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        return len(connection.execute(cut).fetchall())


def granted(budget, count: int) -> list[bool]:
    return [budget.reserve(HERE).wait == 0 for _ in range(count)]


def test_threads_and_connections_that_reserve_at_once_get_no_place_twice(postgres_place):
    with ExitStack() as stack, ThreadPoolExecutor(16) as threads:
        budgets = [stack.enter_context(postgres_place.budget(limit=8, window=60)) for _ in range(4)]
        reservations = list(threads.map(lambda number: budgets[number % 4].reserve(HERE), range(32)))
    assert sorted(round(reservation.wait / 60) for reservation in reservations) == [n // 8 for n in range(32)]


def test_connecting_while_others_decide_waits_for_nobody(budget, url):
    """Neither for a decision that is under way nor, with it, for ever."""

    def connect(window) -> None:
        window.reserve()
        with from_url(url) as other:
            assert other.reserve(HERE._replace(repo_id="you/others")).wait == 0

    budget.reserve(HERE)
    budget._decide(HERE, connect)


def test_a_transaction_that_dies_leaves_nothing_behind(budget, url):
    def die(window) -> None:
        window.reserve()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        budget._decide(HERE, die)
    assert granted(from_url(url), 9) == [True] * 8 + [False]


def test_a_repository_that_somebody_keeps_locked_is_reported(budget, url, monkeypatch):
    budget.reserve(HERE)
    monkeypatch.setattr(postgres, "_SESSION", postgres._SESSION.replace("lock_timeout = '5s'", "lock_timeout = '1ms'"))
    with from_url(url) as other:

        def refused_meanwhile(window) -> None:
            with pytest.raises(BudgetError, match="lock timeout"):
                other.reserve(HERE)

        budget._decide(HERE, refused_meanwhile)
        assert other.reserve(HERE).wait == 0


def test_a_connection_that_was_cut_while_idle_is_made_anew_and_each_commit_counts_once(budget, url):
    reservations = [budget.reserve(HERE)]
    for _ in range(3):
        assert cut_connections(url) >= 1
        reservations.append(budget.reserve(HERE))
    cut_connections(url)
    budget.confirm(HERE, reservations[0])
    cut_connections(url)
    budget.cancel(HERE, reservations[1])
    assert budget.status(HERE).used == 3
    assert granted(budget, 6) == [True] * 5 + [False]


def test_a_connection_that_is_cut_again_and_again_is_reported_rather_than_tried_for_ever(budget, url):
    budget.reserve(HERE)
    attempts = []

    def cut(window) -> None:
        attempts.append(cut_connections(url))
        window.reserve()

    with pytest.raises(BudgetError, match="Is the Postgres server running"):
        budget._decide(HERE, cut)
    assert len(attempts) == 2
    assert budget.status(HERE).used == 1


def test_a_pickled_budget_shares_the_count(budget):
    granted(budget, 8)
    with pickle.loads(pickle.dumps(budget)) as twin:
        assert granted(twin, 1) == [False]


def test_a_closed_budget_opens_again(budget):
    budget.reserve(HERE)
    budget.close()
    assert budget.status(HERE).used == 1


def test_time_zones_do_not_matter(budget, url):
    granted(budget, 8)
    with from_url(f"{url}&options=-c%20TimeZone%3DAsia/Tokyo") as zoned:
        assert granted(zoned, 1) == [False]


def test_a_server_that_has_stopped_is_reported(postgres_binaries):
    with servers.postgres(postgres_binaries) as url, from_url(url) as budget:
        budget.reserve(HERE)
    with pytest.raises(BudgetError, match="Is the Postgres server running"):
        budget.reserve(HERE)


def test_repositories_whose_windows_are_over_are_dropped(postgres_place):
    budget = postgres_place.budget(limit=2, window=1)
    for number in range(60):
        budget.reserve(HERE._replace(repo_id=f"you/{number}"))
        postgres_place.passes(1)
    with psycopg.connect(postgres_place.url) as connection:
        tables = ("repositories", "counted", "waiting", "open_places")
        rows = [connection.execute(f"SELECT COUNT(*) FROM mat_vis_hub_v1_{table}").fetchone()[0] for table in tables]
    assert max(rows) <= 10


def test_tables_of_another_version_do_not_matter(empty_postgres_url):
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE mat_vis_hub_repositories (name TEXT PRIMARY KEY, something_else TEXT)")
        connection.execute("CREATE TABLE mat_vis_hub_v2_counted (something_else TEXT)")
    assert granted(from_url(f"{empty_postgres_url}?limit=1"), 2) == [True, False]
