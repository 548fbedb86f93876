"""`sqlite:////var/lib/bake/budget.db`: the count of all processes of one machine, in a file.

Each decision is one transaction, so it is whole or it did not happen, whenever its process dies. The file has to lie on
a disk of this machine: SQLite's locks do not hold over a network. Moments are those of the monotonic clock, which all
processes of a machine share and which no change of the wall clock moves. It starts afresh when the machine does; what
was counted before is then carried over by the wall clock.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from pyrate_limiter import Rate, SQLiteBucket, SQLiteQueries

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub._internal import clock
from mat_vis_hub._internal.per_process import Connection
from mat_vis_hub.budget.counted import CountedLog
from mat_vis_hub.budget.memory import milliseconds
from mat_vis_hub.budget.sliding_window import BEYOND, COUNTED, WAITING, Entry, Quota
from mat_vis_hub.budget.stored import Seed, StoredBudget, name_of

_STEP, _STEPS = 0.01, 100  # seconds to wait for another process's transaction, and how often
_SLACK = 1000  # ms; nothing is counted later than now, unless the clock has started afresh

_REPOSITORIES = """
CREATE TABLE IF NOT EXISTS repositories (
    name TEXT PRIMARY KEY, quota_limit INTEGER, quota_window INTEGER, closed_until INTEGER, boot TEXT, epoch INTEGER
)
"""


class SQLiteBudget(StoredBudget):
    """
    A `CommitBudget` in a file.

    Args:
        path (`Path`): The file; made if there is none.
        limit (`int`), window (`float`), seed (`Callable`, *optional*): As in `StoredBudget`.
    """

    errors = (sqlite3.Error, OSError)
    advice = (
        "It must be a file of its own on a local disk, in a folder that exists and may be written to, with room left."
        " One that is damaged may be deleted: the count then begins anew."
    )

    def __init__(self, path: Path, limit: int, window: float, seed: Seed | None = None) -> None:
        super().__init__(f"sqlite:///{path}", limit, window, seed)
        self._connections: Connection[sqlite3.Connection] = Connection(partial(_connect, path))

    def open(self) -> None:
        with self.reporting(), self._connections.held():
            pass

    @contextmanager
    def log(self, repository: Repository) -> Iterator[_Log]:
        with self._connections.held() as connection:
            _in_turn(connection, "BEGIN IMMEDIATE")
            yield _Log(connection, name_of(repository), self._quota)
            if connection.in_transaction:
                connection.execute("COMMIT")

    def close(self) -> None:
        self._connections.close()


class _Log(CountedLog):
    """One repository's log, within a transaction: a bucket of pyrate-limiter, and a row with its quota."""

    def __init__(self, connection: sqlite3.Connection, name: str, default: Quota) -> None:
        self.now = milliseconds()
        self._name = name
        self._table = f"log_{hashlib.sha256(name.encode()).hexdigest()[:24]}"
        self._execute = connection.execute
        row = self._execute("SELECT * FROM repositories WHERE name = ?", (name,)).fetchone() or self._begin()
        _, limit, window, closed_until, boot, epoch = row
        if boot != _boot() or self._is_from_the_future():
            closed_until = self._carry_over(closed_until, epoch - _epoch())
        self.quota = Quota(limit or default.limit, window or default.window, closed_until)
        self._execute(f"DELETE FROM {self._table} WHERE item_timestamp < ?", (self.now - self.quota.window,))
        rates = [Rate(self.quota.limit, self.quota.window)]
        self.bucket = SQLiteBucket(rates, connection, self._table, lock=_NO_LOCK)

    def between(self, first: int, last: int) -> int:
        count = f"SELECT COUNT(*) FROM {self._table} WHERE item_timestamp BETWEEN ? AND ?"
        return int(self._execute(count, (first, last)).fetchone()[0])

    def entries(self, before: str = BEYOND, but: str = "") -> list[Entry]:
        query = f"SELECT name, item_timestamp FROM {self._table} WHERE name < ? AND name != ?"
        return [Entry(name, at) for name, at in self._execute(query, (before, but))]

    def move(self, slot: str, state: str, at: int | None = None) -> None:
        self.remove(slot)
        at = self.now if at is None else at
        self._execute(f"INSERT INTO {self._table} (name, item_timestamp) VALUES (?, ?)", (state + slot, at))

    def remove(self, slot: str) -> None:
        self._execute(f"DELETE FROM {self._table} WHERE name IN (?, ?)", (WAITING + slot, COUNTED + slot))

    def note(self, quota: Quota) -> None:
        self.quota = quota
        self._execute(
            "UPDATE repositories SET quota_limit = ?, quota_window = ?, closed_until = ? WHERE name = ?",
            (quota.limit, quota.window, quota.closed_until, self._name),
        )

    def _begin(self) -> tuple[str, None, None, None, str, int]:
        row = (self._name, None, None, None, _boot(), _epoch())
        self._execute("INSERT INTO repositories VALUES (?, ?, ?, ?, ?, ?)", row)
        self._execute(SQLiteQueries.CREATE_BUCKET_TABLE.format(table=self._table))
        index = SQLiteQueries.CREATE_INDEX_ON_TIMESTAMP
        self._execute(index.format(index_name=f"at_{self._table}", table_name=self._table))
        self._execute(f"CREATE INDEX IF NOT EXISTS by_name_{self._table} ON {self._table} (name, item_timestamp)")
        return row

    def _is_from_the_future(self) -> bool:
        # The plus has it go by name: few are counted, and many may wait for a moment to come.
        counted = f"SELECT 1 FROM {self._table} WHERE name < ? AND +item_timestamp > ?"
        return self._execute(counted, (WAITING, self.now + _SLACK)).fetchone() is not None

    def _carry_over(self, closed_until: int | None, shift: int) -> int | None:
        """After a start of the machine: moments as the present clock has them. Whoever waited then waits no more."""
        self._execute(f"UPDATE {self._table} SET item_timestamp = item_timestamp + ?", (shift,))
        waiting_or_wrong = f"DELETE FROM {self._table} WHERE item_timestamp > ? OR name LIKE ?"
        self._execute(waiting_or_wrong, (self.now, f"{WAITING}%"))
        closed_until = None if closed_until is None else closed_until + shift
        self._execute(
            "UPDATE repositories SET closed_until = ?, boot = ?, epoch = ? WHERE name = ?",
            (closed_until, _boot(), _epoch(), self._name),
        )
        return closed_until


_NO_LOCK = threading.RLock()  # pyrate-limiter wants one; the transaction is ours


def _connect(path: Path) -> sqlite3.Connection:
    # Transactions are begun by hand, and threads take turns (`Connection`).
    connection = sqlite3.connect(path, timeout=_STEP, isolation_level=None, check_same_thread=False)
    try:
        _in_turn(connection, "PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        _in_turn(connection, _REPOSITORIES)
    except BaseException:
        connection.close()
        raise
    return connection


def _in_turn(connection: sqlite3.Connection, statement: str) -> None:
    """SQLite looks for a lock less and less often, and whoever comes later overtakes: so it begins anew each time."""
    for step in range(1, _STEPS + 1):
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if step == _STEPS or str(error) != "database is locked":
                raise


@cache
def _boot() -> str:
    """Tells one start of the machine from the next, where the system says so."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _epoch() -> int:
    """When the monotonic clock stood at 0, by the wall clock."""
    return round(clock.wall() * 1000) - milliseconds()
