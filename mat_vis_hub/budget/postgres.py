"""`postgresql://cache/budget`: the count of a fleet, in a Postgres that all its machines reach.

Each decision is one transaction, by the server's clock, so it is whole or it did not happen, and what time the writers'
own clocks tell does not matter. It takes a few round trips; Redis takes one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from pyrate_limiter import PostgresBucket, Rate

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal.per_process import Connection
from mat_vis_hub.budget.counted import CountedLog
from mat_vis_hub.budget.sliding_window import BEYOND, COUNTED, WAITING, Entry, Quota
from mat_vis_hub.budget.stored import Seed, StoredBudget, name_of

_TIMEOUT = 2  # seconds to connect, or to answer
_BUSY = 1  # seconds to wait for another's transaction

_SESSION = f"SET timezone = 'UTC'; SET lock_timeout = '{_BUSY}s'; SET statement_timeout = '{_TIMEOUT}s'"
_REPOSITORIES = """
SELECT pg_advisory_xact_lock(7108261);
CREATE TABLE IF NOT EXISTS mat_vis_hub_repositories (
    name TEXT PRIMARY KEY, quota_limit INTEGER, quota_window BIGINT, closed_until BIGINT
)
"""
_QUOTA = """
SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT, quota_limit, quota_window, closed_until
FROM (SELECT 1) AS one LEFT JOIN mat_vis_hub_repositories ON name = %s
"""
_NOTE = """
INSERT INTO mat_vis_hub_repositories VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO UPDATE
SET quota_limit = excluded.quota_limit, quota_window = excluded.quota_window, closed_until = excluded.closed_until
"""
_AT = sql.SQL("round(extract(epoch FROM item_timestamp) * 1000)::BIGINT")


class PostgresBudget(StoredBudget):
    """
    A `CommitBudget` in Postgres.

    Args:
        url (`str`): As libpq takes it.
        shown (`str`), limit (`int`), window (`float`), seed (`Callable`, *optional*): As in `StoredBudget`.
    """

    errors = (psycopg.Error, OSError)
    advice = "Is the Postgres server running, and may this machine reach it with this URL and make tables?"

    def __init__(self, url: str, shown: str, limit: int, window: float, seed: Seed | None = None) -> None:
        super().__init__(shown, limit, window, seed)
        self._connections: Connection[_Connection] = Connection(partial(_Connection, url))

    def open(self) -> None:
        with self.reporting(), self._connections.held():
            pass

    @contextmanager
    def log(self, repository: Repository) -> Iterator[_Log]:
        with self._connections.held() as connection, connection.driver.transaction():
            yield _Log(connection, name_of(repository), self._quota)

    def close(self) -> None:
        super().close()
        self._connections.close()


class _Connection:
    """To pyrate-limiter's buckets this is a pool, with the one connection whose transaction they are to work in."""

    def __init__(self, url: str) -> None:
        self.driver = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=_TIMEOUT,
            tcp_user_timeout=_TIMEOUT * 1000,
            application_name="mat_vis_hub",
        )
        try:
            self.driver.execute(_SESSION)
            with self.driver.transaction():
                self.driver.execute(_REPOSITORIES)
        except BaseException:
            self.driver.close()
            raise
        self.buckets: dict[str, PostgresBucket] = {}

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        yield self.driver

    def close(self) -> None:
        self.driver.close()


class _Log(CountedLog):
    """One repository's log, within a transaction that holds its table."""

    def __init__(self, connection: _Connection, name: str, default: Quota) -> None:
        self._name = name
        self._execute = connection.driver.execute
        bucket = connection.buckets.get(name) or self._begin(connection, default)
        self._table = sql.Identifier(f"ratelimit___{bucket.table}")
        self._execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(self._table))
        self.now, limit, window, closed_until = self._execute(_QUOTA, (name,)).fetchone() or (0, None, None, None)
        self.quota = Quota(limit or default.limit, window or default.window, closed_until)
        self._leak()
        bucket.rates = [Rate(self.quota.limit, self.quota.window)]
        self.bucket = bucket

    def between(self, first: int, last: int) -> int:
        count = "SELECT COUNT(*) FROM {} WHERE item_timestamp BETWEEN to_timestamp(%s) AND to_timestamp(%s)"
        (number,) = self._execute(sql.SQL(count).format(self._table), (first / 1000, last / 1000)).fetchone() or (0,)
        return int(number)

    def entries(self, before: str = BEYOND, but: str = "") -> list[Entry]:
        query = sql.SQL("SELECT name, {} FROM {} WHERE name < %s AND name <> %s").format(_AT, self._table)
        return [Entry(name, at) for name, at in self._execute(query, (before, but))]

    def move(self, slot: str, state: str, at: int | None = None) -> None:
        self.remove(slot)
        put = sql.SQL("INSERT INTO {} VALUES (%s, 1, to_timestamp(%s))").format(self._table)
        self._execute(put, (state + slot, (self.now if at is None else at) / 1000))

    def remove(self, slot: str) -> None:
        remove = sql.SQL("DELETE FROM {} WHERE name IN (%s, %s)").format(self._table)
        self._execute(remove, (WAITING + slot, COUNTED + slot))

    def note(self, quota: Quota) -> None:
        self.quota = quota
        self._execute(_NOTE, (self._name, quota.limit, quota.window, quota.closed_until))

    def _begin(self, connection: _Connection, quota: Quota) -> PostgresBucket:
        table = f"mat_vis_hub_{hashlib.sha256(self._name.encode()).hexdigest()[:24]}"
        # One connection stands for the pool, whose type is known only where psycopg-pool happens to be installed.
        pool: Any = connection
        bucket = PostgresBucket(pool, table, [Rate(quota.limit, quota.window)])
        index = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (name)")
        self._execute(index.format(sql.Identifier(f"by_name_{table}"), sql.Identifier(f"ratelimit___{table}")))
        connection.buckets[self._name] = bucket
        return bucket

    def _leak(self) -> None:
        leak = sql.SQL("DELETE FROM {} WHERE item_timestamp < to_timestamp(%s)").format(self._table)
        self._execute(leak, ((self.now - self.quota.window) / 1000,))
