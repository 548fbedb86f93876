"""`postgresql://cache/budget`: a budget for a fleet, in a Postgres that all its machines reach.

Each decision is one transaction, by the server's clock, so it happens as a whole or not at all, and it does not matter
what the writers' own clocks say. It takes several round trips; Redis takes one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, TypeVar

import psycopg
import psycopg.conninfo

from mat_vis_hub._hub.repository import LONGEST_COMMIT, Repository
from mat_vis_hub._internal.per_process import Connection
from mat_vis_hub.budget.scope import name_of
from mat_vis_hub.budget.sliding_window import Quota, Window
from mat_vis_hub.budget.sql import COLUMNS, OPEN, REPOSITORIES, SCHEMA, SqlWindow, drop_what_is_over
from mat_vis_hub.budget.stored import Backfill, StoredBudget

T = TypeVar("T")

_CONNECT = 2  # seconds to connect
_LEASE_WAIT = 500  # milliseconds that the server keeps one who waits for a lease in its queue
_ANSWER = 5  # seconds to answer, which includes waiting for the transactions of others; they take milliseconds

# With no statistics or old ones, Postgres would read and sort a whole queue rather than walk its index.
_SESSION = f"""
SET lock_timeout = '{_ANSWER}s'; SET statement_timeout = '{_ANSWER + 1}s'; SET client_min_messages = warning;
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN
('enable_sort', 'enable_incremental_sort', 'enable_bitmapscan', 'enable_seqscan', 'jit')
"""
_LOCK = "SELECT pg_advisory_xact_lock(7108261)"  # any number: two that create the same tables at once fail
_ROW = f"SELECT id, {COLUMNS} FROM {REPOSITORIES} WHERE name = ? FOR UPDATE"
_NOW = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT"


class PostgresBudget(StoredBudget):
    """
    A `CommitBudget` in Postgres.

    Args:
        url (`str`): As libpq takes it.
        shown (`str`), limit (`int`), window (`float`), backfill (`Callable`, *optional*): As in `StoredBudget`.
    """

    errors = (psycopg.Error, OSError)
    advice = "Is the Postgres server running, and may this machine reach it with this URL and create tables?"
    now: Callable[[], int] | None = None  # tests set it, in place of the server's clock

    def __init__(self, url: str, shown: str, limit: int, window: float, backfill: Backfill | None = None) -> None:
        super().__init__(shown, limit, window, backfill)
        try:
            psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            raise ValueError("libpq does not accept this URL") from None  # its own message may quote the password
        self._url = url
        self._connection: Connection[_Session] = Connection(partial(_Session, url))

    def open(self) -> None:
        def connect() -> None:
            with self._connection.held():
                pass

        self.reporting(connect)

    def is_down(self, error: Exception) -> bool:
        return getattr(error, "sqlstate", None) is None  # what the server itself says may be about one row

    def decide(self, name: str, own: Quota, decision: Callable[[Window], T]) -> tuple[T, Window]:
        with suppress(_Cut):  # while it was idle, most likely; nothing has been committed, so it can be done again
            return self._decide_once(name, own, decision)
        return self._decide_once(name, own, decision)

    def _decide_once(self, name: str, own: Quota, decision: Callable[[Window], T]) -> tuple[T, Window]:
        with self._connection.held() as session:
            fresh, session.fresh = session.fresh, False
            try:
                session.execute("BEGIN")
                window = self._begin(session.execute, name, own)
                result = decision(window)
                window.save()
            except psycopg.OperationalError as error:
                if session.driver.closed and not fresh:
                    raise _Cut(*error.args) from error
                raise
            session.execute("COMMIT")
            return result, window

    def _begin(self, execute: Callable[..., Any], name: str, own: Quota) -> SqlWindow:
        found = execute(_ROW, (name,)).fetchone()
        (now,) = execute(_NOW).fetchone() if self.now is None else (self.now(),)
        if found is None:
            drop_what_is_over(execute, now, "FOR UPDATE SKIP LOCKED")  # those in use are not over
            execute(f"INSERT INTO {REPOSITORIES} (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            found = execute(_ROW, (name,)).fetchone()
        key, *stored = found
        return SqlWindow(execute, key, stored, now, own)

    def lease(self, repository: Repository) -> _Lease:
        return _Lease(self, self._url, repository)

    def close(self) -> None:
        self._connection.close()


class _Cut(psycopg.OperationalError):
    """The connection had been cut before the transaction was committed. It can be begun again."""


class _Session:
    """A connection with its tables. `fresh`: it has not been used yet."""

    def __init__(self, url: str) -> None:
        self.fresh = True
        self.driver = _connect(url)
        try:
            self.driver.execute(_SESSION)
            if not self._has_tables():
                with self.driver.transaction():
                    self.driver.execute(_LOCK)
                    for statement in SCHEMA if not self._has_tables() else ():
                        self.driver.execute(statement.format(serial="BIGSERIAL"))
        except BaseException:
            self.driver.close()
            raise

    def _has_tables(self) -> bool:
        # CREATE INDEX IF NOT EXISTS would lock a table that is in use, and so may deadlock with a decision.
        # (`to_regclass` may answer from a cache that is older than the advisory lock.)
        found = self.driver.execute("SELECT 1 FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid)", (OPEN,))
        return found.fetchone() is not None

    def execute(self, statement: str, arguments: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        return self.driver.execute(_for_psycopg(statement), arguments)

    def close(self) -> None:
        self.driver.close()


def _connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=_CONNECT,
        tcp_user_timeout=_ANSWER * 1000,
        application_name="mat_vis_hub",
    )


class _Lease:
    """
    An advisory lock, held by a transaction on a connection of its own.

    The server gives it back when the connection breaks, and ends a session that has done nothing for too long. Those
    who wait do so in the server's queue, first come, first served.
    """

    def __init__(self, budget: PostgresBudget, url: str, repository: Repository) -> None:
        self._reporting = budget.reporting
        self._connection: Connection[_LeaseSession] = Connection(partial(_LeaseSession, url, _lock_of(repository)))

    def acquire(self) -> bool:
        return self._reporting(self._acquire)

    def _acquire(self) -> bool:
        with suppress(_Cut), self._connection.held() as session:
            return session.acquire()
        with self._connection.held() as session:
            return session.acquire()

    def release(self) -> None:
        self._connection.close()


class _LeaseSession:
    """A connection for one lease."""

    def __init__(self, url: str, lock: int) -> None:
        self._driver = _connect(url)
        self._lock = lock
        self._holds_it = False

    def acquire(self) -> bool:
        if self._holds_it:
            try:
                self._driver.execute("SELECT 1")  # the session is not idle
            except psycopg.Error as error:
                raise _Cut(*error.args) from error
            return True
        try:
            self._driver.execute(
                f"BEGIN; SET LOCAL lock_timeout = {_LEASE_WAIT}; SET LOCAL idle_in_transaction_session_timeout ="
                f" {round(LONGEST_COMMIT * 1000)}; SELECT pg_advisory_xact_lock({self._lock})".encode()
            )
        except psycopg.errors.LockNotAvailable:
            self._driver.execute("ROLLBACK")
            return False
        self._holds_it = True
        return True

    def close(self) -> None:
        self._driver.close()


def _lock_of(repository: Repository) -> int:
    return int.from_bytes(hashlib.sha256(name_of(repository).encode()).digest()[:8], "big", signed=True)


@cache
def _for_psycopg(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()
