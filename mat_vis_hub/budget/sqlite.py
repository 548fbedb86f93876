"""`sqlite:////var/lib/bake/budget.db`: a budget for all processes of one machine, in a file.

Each decision is one transaction, so it happens as a whole or not at all, whenever its process dies. The file must lie
on a local disk: SQLite's locks do not hold over a network. Moments are those of the monotonic clock, which all
processes of a machine share and which no change of the wall clock moves. It starts afresh when the machine does; what
was counted before is then carried over by the wall clock.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from mat_vis_hub._hub.repository import LONGEST_COMMIT, Repository
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.file_lock import FileLock
from mat_vis_hub._internal.per_process import Connection
from mat_vis_hub.budget.memory import milliseconds
from mat_vis_hub.budget.scope import name_of
from mat_vis_hub.budget.sliding_window import NEVER, Quota, Window
from mat_vis_hub.budget.sql import COLUMNS, COUNTED, OPEN, REPOSITORIES, SCHEMA, WAITING, SqlWindow, drop_what_is_over
from mat_vis_hub.budget.stored import Backfill, StoredBudget

T = TypeVar("T")

_logger = logging.getLogger("mat_vis_hub")

_PAUSE, _TRIES = 0.01, 500  # seconds to wait for another process's transaction, and how often
_SLACK = 1000  # ms; nothing is counted later than now, unless the clock has started afresh

_ROW = f"SELECT id, boot, epoch, {COLUMNS} FROM {REPOSITORIES} WHERE name = ?"
_LATEST = f"SELECT MAX(moment) FROM {COUNTED} WHERE repository = ?"
_hanging: set[object] = set()  # holders of locks that have been waited for in vain, so that it happens once


class SQLiteBudget(StoredBudget):
    """
    A `CommitBudget` in a file.

    Args:
        path (`Path`): The file, which is created if there is none.
        limit (`int`), window (`float`), backfill (`Callable`, *optional*): As in `StoredBudget`.
    """

    errors = (sqlite3.Error, OSError)
    advice = (
        "It must be a file of its own on a local disk, in a folder that exists and can be written to, with room left."
        " A damaged file may be deleted: the count then begins anew."
    )

    def __init__(self, path: Path, limit: int, window: float, backfill: Backfill | None = None) -> None:
        super().__init__(f"sqlite:///{path}", limit, window, backfill)
        self._path = path
        self._file: Connection[_File] = Connection(partial(_File, path))

    def open(self) -> None:
        def connect() -> None:
            with self._file.held():
                pass

        self.reporting(connect)

    def decide(self, name: str, own: Quota, decision: Callable[[Window], T]) -> tuple[T, Window]:
        with self._file.held() as file:
            if file.identity != _identity(self._path):
                _logger.warning("%s was deleted or replaced while in use. The count begins anew.", self.shown)
                file.close()
                file.reopen()
            execute = file.connection.execute
            _in_turn(file.connection, "BEGIN IMMEDIATE")
            window = _begin(execute, name, own)
            result = decision(window)
            window.save()
            execute("COMMIT")
            return result, window

    def lease(self, repository: Repository) -> _Lease:
        return _Lease(self, self._path, repository)

    def close(self) -> None:
        self._file.close()


class _Lease:
    """
    Two locks on files beside the database: the lease itself, and the place of the one who gets it next.

    Only the one who is next asks for the lease. So a process that commits without pause cannot keep the others out.
    """

    def __init__(self, budget: SQLiteBudget, path: Path, repository: Repository) -> None:
        key = hashlib.sha256(name_of(repository).encode()).hexdigest()[:16]
        self._reporting = budget.reporting
        self._lease = FileLock(path.with_name(f"{path.name}-{key}.lease"), path)
        self._next = FileLock(path.with_name(f"{path.name}-{key}.next"), path)
        self._holder: object = None  # who held the lock that this one waits for, at the last look ...
        self._since = 0.0  # ... and since when

    def acquire(self) -> bool:
        return self._reporting(self._acquire)

    def _acquire(self) -> bool:
        if self._lease.is_held:
            self._lease.renew()
            return True
        if not (self._next.is_held or self._next.acquire()):
            return self._hangs(self._next)
        if not self._lease.acquire():
            return self._hangs(self._lease)
        self._next.release()
        return True

    def _hangs(self, lock: FileLock) -> bool:
        """Whether the holder has kept the lock for longer than a commit can take: then this one goes without it."""
        holder, now = lock.holder(), time.monotonic()
        if holder != self._holder:
            self._holder, self._since = holder, now
        hangs = holder is not None and (holder in _hanging or now - self._since >= LONGEST_COMMIT)
        if hangs:
            _hanging.add(holder)
        return hangs

    def release(self) -> None:
        self._lease.release()
        self._next.release()


class _File:
    """An open file, and which file on the disk that is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reopen()

    def reopen(self) -> None:
        # Transactions are begun by hand, and threads take turns (`Connection`).
        self.connection = sqlite3.connect(self._path, timeout=_PAUSE, isolation_level=None, check_same_thread=False)
        try:
            _in_turn(self.connection, "PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            for statement in SCHEMA:
                _in_turn(self.connection, statement.format(serial="INTEGER"))
            self.identity = _identity(self._path)
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        self.connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _begin(execute: Callable[..., Any], name: str, own: Quota) -> SqlWindow:
    """The repository's window, as the present clock has it."""
    now = milliseconds()
    found = execute(_ROW, (name,)).fetchone()
    if found is None:
        drop_what_is_over(execute, now)
        insert = f"INSERT INTO {REPOSITORIES} (name, boot, epoch) VALUES (?, ?, ?)"
        execute(insert, (name, _boot(), _epoch()))
        found = execute(_ROW, (name,)).fetchone()
    key, boot, epoch, *stored = found
    latest = execute(_LATEST, (key,)).fetchone()[0]
    if boot != _boot() or (latest is not None and latest > now + _SLACK):
        stored = _carry_over(execute, key, stored, now, epoch - _epoch())
    return SqlWindow(execute, key, stored, now, own)


def _carry_over(
    execute: Callable[..., Any], key: int, stored: Sequence[int | None], now: int, by: int
) -> list[int | None]:
    """After a start of the machine: move all moments to the present clock. What waited then waits no more."""
    for table in (WAITING, OPEN):
        execute(f"DELETE FROM {table} WHERE repository = ?", (key,))
    execute(f"UPDATE {COUNTED} SET moment = moment + ? WHERE repository = ?", (by, key))
    execute(f"DELETE FROM {COUNTED} WHERE repository = ? AND moment > ?", (key, now))
    execute(f"UPDATE {REPOSITORIES} SET boot = ?, epoch = ? WHERE id = ?", (_boot(), _epoch(), key))
    moments = {"quota_until", "closed_until", "over_at"}
    return [
        value + by if name in moments and value is not None and value != NEVER else value
        for name, value in zip(COLUMNS.split(", "), stored, strict=True)
    ]


def _in_turn(connection: sqlite3.Connection, statement: str) -> None:
    """
    Execute it once the file is not locked.

    SQLite's own timeout looks less and less often, so that those who come later overtake. This one begins anew.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if attempt == _TRIES or str(error) != "database is locked":
                raise


@cache
def _boot() -> str:
    """Distinguishes one start of the machine from the next, where the system says so."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _epoch() -> int:
    """When the monotonic clock stood at 0, by the wall clock."""
    return round(clock.wall() * 1000) - milliseconds()
