"""A sliding window in two SQL tables, for SQLite and Postgres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from typing import Any

from mat_vis_hub.budget.sliding_window import NEVER, Entry, Queue, Quota, Row, SlidingWindow

Execute = Callable[[str, Sequence[Any]], Any]
"""Executes a statement, with `?` for each argument, and returns a cursor."""

# The version is part of the names: a later schema begins anew beside this one, and both work in one database.
REPOSITORIES, COUNTED, WAITING, OPEN = (
    f"mat_vis_hub_v1_{name}" for name in ("repositories", "counted", "waiting", "open_places")
)
COLUMNS = "quota_limit, quota_window, quota_until, named, longest, closed_until, last_place, over_at"
assert len(COLUMNS.split(", ")) == len(fields(Row))

# The last one exists only if all do. There is a table for each kind of entry: with one for all, Postgres would choose
# the wrong index until it has statistics.
SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS {REPOSITORIES} (id {{serial}} PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    f" {COLUMNS.replace(',', ' BIGINT,')} BIGINT, boot TEXT, epoch BIGINT)",
    f"CREATE INDEX IF NOT EXISTS {REPOSITORIES}_over_at ON {REPOSITORIES} (over_at)",
    f"CREATE TABLE IF NOT EXISTS {COUNTED} (repository BIGINT, id TEXT, moment BIGINT, PRIMARY KEY (repository, id))",
    f"CREATE INDEX IF NOT EXISTS {COUNTED}_moment ON {COUNTED} (repository, moment)",
    f"CREATE TABLE IF NOT EXISTS {WAITING}"
    " (repository BIGINT, id TEXT, place BIGINT, moment BIGINT, PRIMARY KEY (repository, id))",
    f"CREATE INDEX IF NOT EXISTS {WAITING}_place ON {WAITING} (repository, place)",
    f"CREATE INDEX IF NOT EXISTS {WAITING}_moment ON {WAITING} (repository, moment)",
    f"CREATE TABLE IF NOT EXISTS {OPEN}"
    " (repository BIGINT, place BIGINT, moment BIGINT, PRIMARY KEY (repository, place))",
)

_AHEAD = f"SELECT moment FROM {WAITING} WHERE repository = ? AND place < ? ORDER BY place DESC"
_QUEUE = f"""
SELECT (SELECT COUNT(*) FROM ({_AHEAD} LIMIT ?) AS ahead), ({_AHEAD} LIMIT 1), ({_AHEAD} LIMIT 1 OFFSET ?)
"""
_OLDEST = ", ".join(f"(SELECT MIN(moment) FROM {table} WHERE repository = ?)" for table in (COUNTED, WAITING, OPEN))
_BOTH = f"""
SELECT moment FROM {COUNTED} WHERE repository = ? AND moment >= ?
UNION ALL SELECT moment FROM {WAITING} WHERE repository = ? AND moment >= ?
"""
_LATEST = f"SELECT moment FROM (SELECT moment FROM ({_BOTH}) AS both_ ORDER BY moment DESC LIMIT ?) AS latest"
_FIND = f"""
SELECT moment, 0 FROM {COUNTED} WHERE repository = ? AND id = ?
UNION ALL SELECT moment, 1 FROM {WAITING} WHERE repository = ? AND id = ?
"""
_SAVE = f"UPDATE {REPOSITORIES} SET {COLUMNS.replace(',', ' = ?,')} = ? WHERE id = ?"
_DROP = f"SELECT id FROM {REPOSITORIES} WHERE over_at < ? ORDER BY over_at LIMIT 10"


class SqlWindow(SlidingWindow):
    """
    One decision, within a transaction that holds the repository's row.

    Args:
        execute (`Callable`): Executes a statement in that transaction.
        key (`int`): The row's id.
        stored (`Sequence`): What it holds of `COLUMNS`; `None` where nothing is known yet.
        now (`int`), own (`Quota`): As in `SlidingWindow`.
    """

    def __init__(self, execute: Execute, key: int, stored: Sequence[int | None], now: int, own: Quota) -> None:
        row = Row(*(default if value is None else value for value, default in zip(stored, astuple(Row()), strict=True)))
        super().__init__(now, row, own)
        self._execute = execute
        self._key = key
        self._stored = tuple(stored)
        self._purge(now - row.longest)

    def _purge(self, outdated: int) -> None:
        oldest = self._one(f"SELECT {_OLDEST}", (self._key,) * 3)
        for table, moment, first in zip((COUNTED, WAITING, OPEN), oldest, (outdated, outdated, self.now), strict=True):
            if moment is not None and moment < first:
                self._execute(f"DELETE FROM {table} WHERE repository = ? AND moment < ?", (self._key, first))

    def save(self) -> None:
        """Write the row, if the decision has changed it."""
        if (row := astuple(self.row)) != self._stored:
            self._execute(_SAVE, (*row, self._key))

    def queue(self, place: int, limit: int) -> Queue:
        ahead = (self._key, place)
        length, last, at_limit = self._one(_QUEUE, (*ahead, limit, *ahead, *ahead, limit - 1))
        return Queue(length, NEVER if last is None else last, NEVER if at_limit is None else at_limit)

    def last_waiting(self) -> int:
        (place,) = self._one(f"SELECT MAX(place) FROM {WAITING} WHERE repository = ?", (self._key,))
        return NEVER if place is None else int(place)

    def counted(self, nth: int) -> int | None:
        query = f"SELECT moment FROM {COUNTED} WHERE repository = ? ORDER BY moment DESC LIMIT 1 OFFSET ?"
        found = self._one(query, (self._key, nth - 1))
        return None if found is None else int(found[0])

    def count(self, since: int) -> int:
        query = f"SELECT COUNT(*) FROM {COUNTED} WHERE repository = ? AND moment >= ?"
        return int(self._one(query, (self._key, since))[0])

    def latest(self, since: int, limit: int, most: int) -> tuple[int, list[int]]:
        both = (self._key, since) * 2
        (count,) = self._one(f"SELECT COUNT(*) FROM ({_BOTH}) AS both_", both)
        moments = self._execute(f"{_LATEST} ORDER BY moment LIMIT ?", (*both, limit, most)).fetchall()
        return int(count), [int(moment) for (moment,) in moments]

    def put(self, id: str, place: int, moment: int, *, waiting: bool) -> None:
        if waiting:
            self._execute(f"INSERT INTO {WAITING} VALUES (?, ?, ?, ?)", (self._key, id, place, moment))
        else:
            self._execute(f"INSERT INTO {COUNTED} VALUES (?, ?, ?)", (self._key, id, moment))

    def remove(self, id: str) -> Entry | None:
        if (found := self._one(_FIND, (self._key, id) * 2)) is None:
            return None
        moment, was_waiting = found
        table = WAITING if was_waiting else COUNTED
        self._execute(f"DELETE FROM {table} WHERE repository = ? AND id = ?", (self._key, id))
        return Entry(int(moment), bool(was_waiting))

    def take_open_place(self) -> int | None:
        (place,) = self._one(f"SELECT MIN(place) FROM {OPEN} WHERE repository = ?", (self._key,))
        if place is None:
            return None
        self._close_place(place)
        return int(place)

    def leave_open(self, place: int, until: int) -> None:
        self._close_place(place)  # the same one may have been left open twice
        self._execute(f"INSERT INTO {OPEN} VALUES (?, ?, ?)", (self._key, place, until))

    def _close_place(self, place: int) -> None:
        self._execute(f"DELETE FROM {OPEN} WHERE repository = ? AND place = ?", (self._key, place))

    def shift(self, since: int, by: int) -> None:
        update = f"UPDATE {WAITING} SET moment = moment + ? WHERE repository = ? AND moment >= ?"
        self._execute(update, (by, self._key, since))

    def _one(self, query: str, arguments: Sequence[Any]) -> Any:
        return self._execute(query, arguments).fetchone()


def drop_what_is_over(execute: Execute, now: int, locking: str = "") -> None:
    """Forget a few repositories whose windows are over. Done whenever a new one comes, so their number is bounded."""
    for (key,) in execute(f"{_DROP} {locking}", (now,)).fetchall():
        for table in (COUNTED, WAITING, OPEN):
            execute(f"DELETE FROM {table} WHERE repository = ?", (key,))
        execute(f"DELETE FROM {REPOSITORIES} WHERE id = ?", (key,))
