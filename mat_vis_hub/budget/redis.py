"""`redis://cache:6379/0`, `rediss://`: a budget for a fleet, in a Redis that all its machines reach.

Moments are those of the server's clock, so it does not matter what the writers' own clocks say. A decision is one Lua
script, so it is atomic and takes one round trip. What Redis forgets, in a restart without persistence, is gone, and the
count goes on without it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mat_vis_hub._hub.repository import LONGEST_COMMIT, Repository
from mat_vis_hub.budget.protocol import BudgetStatus, Reservation
from mat_vis_hub.budget.scope import name_of
from mat_vis_hub.budget.sliding_window import Quota, Row, Window, new_id, place_of, status_of
from mat_vis_hub.budget.stored import Backfill, StoredBudget
from mat_vis_hub.retry_after import Cooldown

T = TypeVar("T")

_TIMEOUT = 2.0  # seconds for the server to answer; it does so in less than a millisecond, unless its machine is busy
_KEYS = ("row", "counted", "queue", "waiting", "open")
_NEXT = 3.0  # seconds after which the one who is next is taken for dead, unless it has asked again

# Only the one who is next gets the lease. So a process that commits without pause cannot keep the others out.
_ACQUIRE = """
local lease, next = KEYS[1], KEYS[2]
local token, milliseconds, milliseconds_next = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', lease) == token then
    redis.call('PEXPIRE', lease, milliseconds)
    return 1
end
local first = redis.call('GET', next)
if first and first ~= token then
    return 0
end
if redis.call('SET', lease, token, 'NX', 'PX', milliseconds) then
    redis.call('DEL', next)
    return 1
end
redis.call('SET', next, token, 'PX', milliseconds_next)
return 0
"""
_RELEASE = """
for _, key in ipairs(KEYS) do
    if redis.call('GET', key) == ARGV[1] then
        redis.call('DEL', key)
    end
end
"""


class RedisBudget(StoredBudget):
    """
    A `CommitBudget` in Redis.

    Args:
        url (`str`): As `redis.Redis.from_url` takes it.
        shown (`str`), limit (`int`), window (`float`), backfill (`Callable`, *optional*): As in `StoredBudget`.
    """

    errors = (redis.RedisError, OSError)
    advice = "Is the Redis server running, and may this machine reach it with this URL?"
    now: Callable[[], int] | None = None  # tests set it, in place of the server's clock

    def __init__(self, url: str, shown: str, limit: int, window: float, backfill: Backfill | None = None) -> None:
        super().__init__(shown, limit, window, backfill)
        self._url = url
        self._connect()

    def open(self) -> None:
        self.reporting(self._client.ping)

    def is_down(self, error: Exception) -> bool:
        return not isinstance(error, redis.ResponseError)  # to one command, which says nothing about others

    def decide(self, name: str, own: Quota, decision: Callable[[Window], T]) -> tuple[T, Window]:
        # The version is part of the keys: a later format begins anew beside this one. Braces keep the keys together
        # in a cluster.
        keys = [f"mat_vis_hub:1:{{{name}}}:{key}" for key in _KEYS]
        now = "" if self.now is None else self.now()

        def run(command: str, *arguments: str | int) -> Any:
            return self._script(keys=keys, args=(command, now, *own, *arguments))

        window = _RedisWindow(run)
        return decision(window), window

    def lease(self, repository: Repository) -> _Lease:
        return _Lease(self, self._client, repository)

    def close(self) -> None:
        self._client.close()

    def _connect(self) -> None:
        # The client is safe to share between threads and after a fork. It connects on first use.
        self._client = redis.Redis.from_url(
            self._url,
            decode_responses=True,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            # A server that has been restarted gets a new connection. A reservation whose response was lost may be made
            # twice that way; the first one leaves with its window.
            retry=Retry(NoBackoff(), 1),
        )
        pool = self._client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # raises if the URL has a parameter that it does not know
        self._script = self._client.register_script(_source())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_client", "_script")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._connect()


@cache
def _source() -> str:
    return files("mat_vis_hub.budget").joinpath("sliding_window.lua").read_text(encoding="utf-8")


class _Lease:
    """A key that expires. It holds a token of its holder, who alone deletes it."""

    def __init__(self, budget: RedisBudget, client: redis.Redis, repository: Repository) -> None:
        self._reporting = budget.reporting
        self._keys = [f"mat_vis_hub:1:{{{name_of(repository)}}}:{key}" for key in ("lease", "next")]
        self._token = uuid.uuid4().hex
        self._acquire = client.register_script(_ACQUIRE)
        self._release = client.register_script(_RELEASE)

    def acquire(self) -> bool:
        arguments = (self._token, round(LONGEST_COMMIT * 1000), round(_NEXT * 1000))
        return bool(self._reporting(lambda: self._acquire(keys=self._keys, args=arguments)))

    def release(self) -> None:
        self._reporting(lambda: self._release(keys=self._keys, args=(self._token,)))


class _RedisWindow(Window):
    """One decision, made by the script."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run_script = run

    def reserve(self) -> Reservation:
        return self._reservation("reserve", uuid.uuid4().hex[:12])

    def renew(self, id: str) -> Reservation:
        return self._reservation("renew", *_placed(id), uuid.uuid4().hex[:12])

    def confirm(self, id: str) -> None:
        self._run("confirm", id)

    def cancel(self, id: str) -> None:
        self._run("cancel", *_placed(id))

    def refuse(self, id: str | None, cooldown: Cooldown) -> None:
        window = round((cooldown.window or 0) * 1000)
        self._run("refuse", *_placed(id or ""), round(cooldown.wait * 1000), cooldown.limit or "", window or "")

    def status(self) -> BudgetStatus:
        used, *latest = self._run("status")
        return status_of(self._now, self._row, used, latest)

    def backfill(self, ages: list[int]) -> None:
        self._run("backfill", *(part for age in sorted(ages, reverse=True) for part in (new_id(0), age)))

    def _reservation(self, *arguments: str) -> Reservation:
        id, wait, used = self._run(*arguments)
        reason = "refused" if self._row.closed_until > self._now else "budget"
        return Reservation(id, wait / 1000, used, self._row.limit, reason)

    def _run(self, *arguments: str | int) -> Any:
        self._now, limit, window, closed_until, differs, result = self._run_script(*arguments)
        self._row = Row(limit, window, closed_until=closed_until)
        self.other_quota = Quota(limit, window) if differs else None
        return result


def _placed(id: str) -> tuple[str, str]:
    """The id, and its place in the queue or nothing."""
    place = place_of(id)
    return id, "" if place is None else str(place)
