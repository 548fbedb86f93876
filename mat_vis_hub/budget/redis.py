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
from typing import Any

import redis
from pyrate_limiter.buckets.redis_bucket import LuaScript
from redis.backoff import NoBackoff
from redis.retry import Retry

from mat_vis_hub._hub.repository import Repository
from mat_vis_hub.budget.protocol import Reservation
from mat_vis_hub.budget.sliding_window import BEYOND, COUNTED, WAITING, Entry, Log, Quota
from mat_vis_hub.budget.stored import Seed, StoredBudget, name_of

_TIMEOUT = 1.0  # seconds for the server to answer; it does so in less than a millisecond
_KEPT = 7 * 24 * 3600 * 1000  # ms; how long a repository's quota outlives its last refusal

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS of all: the log, its names once more (a sorted set whose scores are all 0 is sorted by name), and the quota.
# ARGV: default limit, default window, the end of the slot's id. Counts with pyrate-limiter's script.
_TAKE = f"""
local function put(KEYS, ARGV)
{LuaScript.PUT_ITEM}
end
{_NOW}
local quota = redis.call('HMGET', KEYS[3], 'limit', 'window', 'closed_until')
local limit, window = tonumber(quota[1] or ARGV[1]), tonumber(quota[2] or ARGV[2])
local reopening = tonumber(quota[3] or -window)
local slot = string.format('%014.0f-%06.0f-%s', now, redis.call('ZCARD', KEYS[1]), ARGV[3])
local at, reopened, name = math.max(now, reopening), reopening + window > now
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - window - 1)) do
    redis.call('ZREM', KEYS[1], gone)
    redis.call('ZREM', KEYS[2], gone)
end
local used = redis.call('ZCOUNT', KEYS[1], now - window, now)
local latest = reopened and redis.call('ZRANGE', KEYS[1], -limit, -limit, 'WITHSCORES')[2]
if latest then at = math.max(at, latest + window + 1) end
while true do
    name = ((at > now or reopened) and '{WAITING}' or '{COUNTED}') .. slot .. ':'
    local verdict = put({{KEYS[1]}}, {{at, 1, name, 1, at - window, limit, limit - 1}})
    if verdict[1] < 0 then break end
    at = verdict[2] + window + 1
end
redis.call('ZADD', KEYS[2], 0, name .. '1')
local keep = math.max(redis.call('PTTL', KEYS[1]), at - now + 2 * window)
redis.call('PEXPIRE', KEYS[1], keep)
redis.call('PEXPIRE', KEYS[2], keep)
return {{slot, at, used, now, limit, window, reopening}}
"""

# ARGV: the slot's id, the state it gets or nothing to remove it, when ('' is now), how long to keep it then.
_MOVE = f"""
{_NOW}
for i = 1, 2 do redis.call('ZREM', KEYS[i], '{WAITING}' .. ARGV[1] .. ':1', '{COUNTED}' .. ARGV[1] .. ':1') end
if ARGV[2] ~= '' then
    local at, name = tonumber(ARGV[3]) or now, ARGV[2] .. ARGV[1] .. ':1'
    redis.call('ZADD', KEYS[1], at, name)
    redis.call('ZADD', KEYS[2], 0, name)
    local keep = math.max(redis.call('PTTL', KEYS[1]), math.max(0, at - now) + ARGV[4])
    redis.call('PEXPIRE', KEYS[1], keep)
    redis.call('PEXPIRE', KEYS[2], keep)
end
"""

# ARGV: as in `Log.entries`. One string is read in a tenth of the time that a list of them takes.
_READ = f"""
{_NOW}
local found = {{}}
for _, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], '-', '(' .. ARGV[1])) do
    local at = redis.call('ZSCORE', KEYS[1], name)
    if at and name ~= ARGV[2] .. ':1' then table.insert(found, name .. at) end
end
return {{now, redis.call('HMGET', KEYS[3], 'limit', 'window', 'closed_until'), table.concat(found, ' ')}}
"""

# ARGV: milliseconds to stay closed, limit and window or nothing.
_CLOSE = f"""
{_NOW}
local reopening = math.max(now + ARGV[1], tonumber(redis.call('HGET', KEYS[3], 'closed_until') or 0))
redis.call('HSET', KEYS[3], 'closed_until', reopening)
if ARGV[2] ~= '' then redis.call('HSET', KEYS[3], 'limit', ARGV[2]) end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[3], 'window', ARGV[3]) end
redis.call('PEXPIRE', KEYS[3], ARGV[1] + {_KEPT})
"""


class RedisBudget(StoredBudget):
    """
    A `CommitBudget` in Redis.

    Args:
        url (`str`): As `redis.Redis.from_url` takes it.
        shown (`str`), limit (`int`), window (`float`), seed (`Callable`, *optional*): As in `StoredBudget`.
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
        scripts = (_TAKE, _READ, _MOVE, _CLOSE)
        self.take, self.read, self.move, self.close = map(self.client.register_script, scripts)


class _Log(Log):
    """One repository's log: two sorted sets and a hash with its quota. Read only where a decision needs it."""

    def __init__(self, server: _Server, name: str, default: Quota) -> None:
        self._server = server
        self._keys = [f"mat_vis_hub:{{{name}}}:{key}" for key in ("log", "names", "quota")]  # braces: in one place
        self._default = default

    def entries(self, before: str = BEYOND, but: str = "") -> list[Entry]:
        self.now, (limit, window, closed_until), found = self._server.read(keys=self._keys, args=(before, but))
        self.quota = Quota(
            int(limit or self._default.limit),
            int(window or self._default.window),
            int(closed_until) if closed_until else None,
        )
        return [Entry(name, int(at)) for name, _, at in (entry.partition(":1") for entry in found.split())]

    def reserve(self) -> Reservation:
        arguments = (self._default.limit, self._default.window, uuid.uuid4().hex[:12])
        slot, at, used, self.now, *quota = self._server.take(keys=self._keys, args=arguments)
        self.quota = Quota(*quota)
        return self.settle(slot, at, used)

    def move(self, slot: str, state: str, at: int | None = None) -> None:
        self._server.move(keys=self._keys, args=(slot, state, "" if at is None else at, 2 * self._default.window))

    def remove(self, slot: str) -> None:
        self._server.move(keys=self._keys, args=(slot, "", "", ""))

    def close_for(self, wait: int, limit: int | None, window: int | None) -> None:
        self._server.close(keys=self._keys, args=(wait, limit or "", window or ""))
