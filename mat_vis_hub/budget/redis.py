"""`redis://cache:6379/0`, `rediss://`: the count of a fleet, in a Redis that all its machines reach.

Moments are those of the server's clock, read where the log is: what time the writers' own clocks tell does not matter.
A decision that must be one piece is one script, and one round trip; pyrate-limiter's script does the counting in it.
Only a recheck reads and then writes: it always counts the waiting slots ahead of its own, so of two writers at least
one has seen the other. What Redis forgets (a restart without persistence) is gone, and the count goes on without it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import redis
from pyrate_limiter.buckets.redis_bucket import LuaScript
from redis.backoff import NoBackoff
from redis.retry import Retry

from mat_vis_hub.budget.log import COUNTED, WAITING, Entry, Log, Quota
from mat_vis_hub.budget.protocol import Repository, Slot
from mat_vis_hub.budget.shared import LoggedBudget, Seed, name_of

_TIMEOUT = 1.0  # seconds for the server to answer; it does so in less than a millisecond
_KEPT = 7 * 24 * 3600 * 1000  # ms; how long a repository's quota outlives its last refusal

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: log, quota. ARGV: default limit, default window, the end of the slot's id. Counts with pyrate-limiter's script.
_TAKE = f"""
local function put(KEYS, ARGV)
{LuaScript.PUT_ITEM}
end
{_NOW}
local quota = redis.call('HMGET', KEYS[2], 'limit', 'window', 'closed_until')
local limit, window = tonumber(quota[1] or ARGV[1]), tonumber(quota[2] or ARGV[2])
local reopening = tonumber(quota[3] or -window)
local slot = string.format('%014.0f-%06.0f-%s', now, redis.call('ZCARD', KEYS[1]), ARGV[3])
local at, reopened = math.max(now, reopening), reopening + window > now
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window - 1)
local used = redis.call('ZCOUNT', KEYS[1], now - window, now)
while true do
    local name = ((at > now or reopened) and '{WAITING}' or '{COUNTED}') .. slot .. ':'
    local verdict = put({{KEYS[1]}}, {{at, 1, name, 1, at - window, limit, limit - 1}})
    if verdict[1] < 0 then break end
    at = verdict[2] + window + 1
end
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), at - now + 2 * window))
return {{slot, at - now, used, limit, reopened and 1 or 0}}
"""

# KEYS: log. ARGV: the slot's id, the state it gets or nothing to remove it, when ('' is now), how long to keep it then.
_MOVE = f"""
{_NOW}
redis.call('ZREM', KEYS[1], '{WAITING}' .. ARGV[1] .. ':1', '{COUNTED}' .. ARGV[1] .. ':1')
if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[1], tonumber(ARGV[3]) or now, ARGV[2] .. ARGV[1] .. ':1')
    local keep = math.max(0, (tonumber(ARGV[3]) or now) - now) + ARGV[4]
    redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), keep))
end
"""

# KEYS: quota. ARGV: milliseconds to stay closed, limit and window or nothing.
_CLOSE = f"""
{_NOW}
local reopening = math.max(now + ARGV[1], tonumber(redis.call('HGET', KEYS[1], 'closed_until') or 0))
redis.call('HSET', KEYS[1], 'closed_until', reopening)
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'limit', ARGV[2]) end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'window', ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1] + {_KEPT})
"""


class RedisBudget(LoggedBudget):
    """
    A `CommitBudget` in Redis.

    Args:
        url (`str`): As `redis.Redis.from_url` takes it.
        shown (`str`), limit (`int`), window (`float`), seed (`Callable`, *optional*): As in `LoggedBudget`.
    """

    errors = (redis.RedisError, OSError)
    advice = "Is the Redis server running, and may this machine reach it with this URL?"

    def __init__(self, url: str, shown: str, limit: int, window: float, seed: Seed | None = None) -> None:
        super().__init__(shown, limit, window, seed)
        self._url = url
        self._server: _Server | None = None

    def open(self) -> None:
        with self.reporting():
            self._connected().client.ping()

    @contextmanager
    def log(self, repository: Repository) -> Iterator[_Log]:
        yield _Log(self._connected(), name_of(repository), self._quota)

    def close(self) -> None:
        super().close()
        server, self._server = self._server, None
        if server is not None:
            server.client.close()

    def _connected(self) -> _Server:
        if self._server is None:
            self._server = _Server(self._url)
        return self._server

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_server": None}


class _Server:
    """The client and its scripts; safe to share between threads, and after a fork."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 1),  # a server that has been restarted is met on a new connection
        )
        self.take, self.move, self.close = (self.client.register_script(script) for script in (_TAKE, _MOVE, _CLOSE))


class _Log(Log):
    """One repository's log: a sorted set, with its quota in a hash next to it. Read only where a decision needs it."""

    def __init__(self, server: _Server, name: str, default: Quota) -> None:
        self._server = server
        self._keys = [f"mat_vis_hub:{{{name}}}:{key}" for key in ("log", "quota")]  # braces: one place in a cluster
        self._default = default

    @property
    def now(self) -> int:  # type: ignore[override]  # the server's, read when asked
        return self._read[0]

    @property
    def quota(self) -> Quota:  # type: ignore[override]  # as above
        return self._read[1]

    def entries(self) -> list[Entry]:
        return self._read[2]

    def take(self) -> Slot:
        arguments = (self._default.limit, self._default.window, uuid.uuid4().hex[:12])
        slot, wait, used, limit, reopened = self._server.take(keys=self._keys, args=arguments)
        return self.recheck(slot) if reopened else Slot(slot, wait / 1000, min(used, limit), limit)

    def move(self, slot: str, state: str, at: int | None = None) -> None:
        self._server.move(keys=self._keys[:1], args=(slot, state, "" if at is None else at, 2 * self._default.window))

    def remove(self, slot: str) -> None:
        self._server.move(keys=self._keys[:1], args=(slot, "", "", ""))

    def close_for(self, wait: int, limit: int | None, window: int | None) -> None:
        self._server.close(keys=self._keys[1:], args=(wait, limit or "", window or ""))

    @cached_property
    def _read(self) -> tuple[int, Quota, list[Entry]]:
        log, quota = self._keys
        with self._server.client.pipeline() as pipeline:
            pipeline.time()
            pipeline.hmget(quota, ("limit", "window", "closed_until"))
            pipeline.zrange(log, 0, -1, withscores=True)
            (seconds, micros), (limit, window, closed_until), members = pipeline.execute()
        noted = Quota(
            int(limit or self._default.limit),
            int(window or self._default.window),
            int(closed_until) if closed_until else None,
        )
        entries = [Entry(member.partition(":")[0], int(score)) for member, score in members]
        return seconds * 1000 + micros // 1000, noted, entries
