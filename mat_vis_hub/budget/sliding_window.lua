-- The rule of sliding_window.py as one script: each decision is atomic and takes one round trip.
-- KEYS: the row (a hash), and four sorted sets: counted ids by moment, waiting ids by place in the queue, waiting ids by
-- moment, open places by their end. ARGV: the decision, now (or '' for the server's clock), the sharer's own limit and
-- window, and what the decision needs.
local row, counted, queue, waiting, open = unpack(KEYS)
local NEVER, STEP, PART, QUOTA_WINDOWS, MOST_MOMENTS = -1125899906842624, 2000, 50, 3, 1000
local now = tonumber(ARGV[2])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local FIELDS = {'limit', 'window', 'quota_until', 'named', 'longest', 'closed_until', 'last_place'}
local stored = redis.call('HMGET', row, unpack(FIELDS))
local limit, window = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
local quota_until, named = tonumber(stored[3] or NEVER), tonumber(stored[4] or 0)
local longest, closed_until = tonumber(stored[5] or 0), tonumber(stored[6] or NEVER)
local last_place = tonumber(stored[7] or NEVER)
local differs, wait = 0, 0

local function text(number)  -- Lua's own conversion keeps 14 digits
    return string.format('%.0f', number)
end

local function agree(own_limit, own_window)
    longest = math.max(longest, own_window)
    local in_force = now < quota_until
    if in_force and named == 1 then return end
    if in_force and (own_limit < limit or (own_limit == limit and own_window < window)) then
        differs = 1
        return
    end
    if own_limit ~= limit or own_window ~= window or quota_until < now + (QUOTA_WINDOWS - 1) * window then
        limit, window, named = own_limit, own_window, 0
        quota_until = now + QUOTA_WINDOWS * window
    end
end

local function remove_waiting(id)
    redis.call('ZREM', waiting, id)
    redis.call('ZREM', queue, id)
end

local function purge()
    local outdated = '(' .. text(now - longest)
    redis.call('ZREMRANGEBYSCORE', counted, '-inf', outdated)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', outdated)) do remove_waiting(id) end
    redis.call('ZREMRANGEBYSCORE', open, '-inf', '(' .. text(now))
end

local function count(since)
    return redis.call('ZCOUNT', counted, text(since), '+inf')
end

local function last_waiting()
    return tonumber(redis.call('ZREVRANGE', queue, 0, 0, 'WITHSCORES')[2] or NEVER)
end

local function remove(id)  -- its moment, and whether it was waiting
    local moment = redis.call('ZSCORE', waiting, id)
    if moment then
        remove_waiting(id)
        return tonumber(moment), true
    end
    moment = redis.call('ZSCORE', counted, id)
    redis.call('ZREM', counted, id)
    return tonumber(moment or NEVER), false
end

local function take_open_place()
    local first
    for _, member in ipairs(redis.call('ZRANGE', open, 0, -1)) do
        local place = tonumber(member)
        if not first or place < first then first = place end
    end
    if first then redis.call('ZREM', open, text(first)) end
    return first
end

local function queued(index)
    return tonumber(redis.call('ZSCORE', waiting, redis.call('ZRANGE', queue, index, index)[1]))
end

local function settle(id, place)
    local ahead = redis.call('ZCOUNT', queue, '-inf', '(' .. text(place))
    local length, moment = math.min(ahead, limit), now
    last_place = math.max(last_place, place)
    if ahead > 0 then moment = math.max(moment, queued(ahead - 1)) end
    if ahead >= limit then
        moment = math.max(moment, queued(ahead - limit) + window + 1)
    else
        local nth = limit - length - 1
        local latest = redis.call('ZREVRANGE', counted, nth, nth, 'WITHSCORES')[2]
        if latest then moment = math.max(moment, latest + window + 1) end
    end
    if closed_until + window > now then
        local _, bits = math.frexp(length + count(closed_until) + 1)
        local step = math.min(STEP, math.floor(window / PART))
        moment = math.max(moment, closed_until + step * (bits - 1))
    end
    local used = math.min(count(now - window), limit)
    if moment > now then
        redis.call('ZADD', waiting, moment, id)
        redis.call('ZADD', queue, place, id)
    else
        redis.call('ZADD', counted, moment, id)
    end
    wait = moment - now
    return {id, wait, used}
end

local function close_until(moment)
    if closed_until > now and moment < closed_until then
        local by = moment - closed_until
        for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, text(closed_until), '+inf')) do
            redis.call('ZINCRBY', waiting, by, id)
        end
    end
    closed_until = moment
end

local decisions = {}

function decisions.reserve(suffix)
    local place = take_open_place() or math.max(last_place + 1, now * 1000)
    return settle(text(place) .. '-' .. suffix, place)
end

function decisions.renew(id, place, suffix)
    remove(id)
    if place == '' then return decisions.reserve(suffix) end
    return settle(id, tonumber(place))
end

function decisions.confirm(id)
    local moment, was_waiting = remove(id)
    redis.call('ZADD', counted, now, id)
    if was_waiting and now < closed_until and closed_until <= moment then close_until(now) end
    return {}
end

function decisions.cancel(id, place)
    local moment = remove(id)
    place = tonumber(place)
    if place and moment ~= NEVER and last_waiting() > place then
        redis.call('ZADD', open, math.max(moment, now) + math.floor(window / PART), text(place))
    end
    return {}
end

function decisions.refuse(id, place, cooldown, named_limit, named_window)
    if id ~= '' then decisions.cancel(id, place) end
    named_limit, named_window = tonumber(named_limit), tonumber(named_window)
    if named_limit or named_window then
        limit, window, named = named_limit or limit, named_window or window, 1
        longest = math.max(longest, window)
        quota_until = now + QUOTA_WINDOWS * window
    end
    wait = tonumber(cooldown)
    close_until(now + wait)
    return {}
end

function decisions.status()
    local moments = {}
    for _, key in ipairs({counted, waiting}) do
        local found = redis.call('ZRANGEBYSCORE', key, text(now - window), '+inf', 'WITHSCORES')
        for index = 2, #found, 2 do table.insert(moments, tonumber(found[index])) end
    end
    table.sort(moments)
    local latest, first = {#moments}, math.max(1, #moments - limit + 1)
    for index = first, math.min(#moments, first + MOST_MOMENTS - 1) do table.insert(latest, moments[index]) end
    return latest
end

function decisions.backfill()  -- ARGV: pairs of an id and an age, the oldest first
    local fitting, known = {}, count(now - window)
    for index = 5, #ARGV, 2 do
        local age = tonumber(ARGV[index + 1])
        if age >= 0 and age <= window then table.insert(fitting, {ARGV[index], age}) end
    end
    for index = 1, #fitting - known do
        redis.call('ZADD', counted, now - fitting[index][2], fitting[index][1])
    end
    return {}
end

agree(tonumber(ARGV[3]), tonumber(ARGV[4]))
purge()
local result = decisions[ARGV[1]](ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9])
redis.call('HSET', row, 'limit', limit, 'window', window, 'quota_until', quota_until, 'named', named,
    'longest', longest, 'closed_until', closed_until, 'last_place', last_place)
local keep = math.max(redis.call('PTTL', row), wait + QUOTA_WINDOWS * longest)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, keep) end
return {now, limit, window, closed_until, differs, result}
