"""What must happen in one step on the server: Lua, given all it works on as arguments."""

from __future__ import annotations

#: The sizes of an org's entries: a hash of their bytes by key with the sum under `*`, and two sorted sets of their
#: keys, by last use and by end. What has ended is taken out of the sum by whoever stores next. KEYS from 4 on: by use,
#: by end, sizes.
_WEIGHING = """
local function unweigh(key)
  local size = redis.call('HGET', KEYS[6], key)
  if size then redis.call('HINCRBY', KEYS[6], '*', -size); redis.call('HDEL', KEYS[6], key) end
  redis.call('ZREM', KEYS[4], key)
  redis.call('ZREM', KEYS[5], key)
end
"""

#: The least recently used go until the org is within its bound, at most a thousand at a time; how many went.
_SHEDDING = """
local function shed(names, bound)
  local gone = 0
  while gone < 1000 and tonumber(redis.call('HGET', KEYS[6], '*') or 0) > tonumber(bound) do
    local key = redis.call('ZRANGE', KEYS[4], 0, 0)[1]
    if not key then break end
    local id = redis.call('GETRANGE', names .. key, 0, 25)
    redis.call('ZREM', KEYS[2], id .. key)
    redis.call('UNLINK', names .. key, names .. key .. ':n')
    unweigh(key)
    gone = gone + 1
  end
  return gone
end
"""

#: Store an entry, unless its generation is over. Its predecessor under the same key leaves the index. Past the bound
#: the least recently used go.
#: KEYS: entry, index, generation, and the sizes. ARGV: generation, value, entry id, key, milliseconds to live, least id
#: alive, now, beginning of all entries' names, what an entry weighs beside its value, bound in bytes.
PUT = (
    _WEIGHING
    + _SHEDDING
    + """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
local old = redis.call('GETRANGE', KEYS[1], 0, 25)
if #old == 26 then redis.call('ZREM', KEYS[2], old .. ARGV[4]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[5])
redis.call('ZADD', KEYS[2], 0, ARGV[3] .. ARGV[4])
redis.call('ZREMRANGEBYLEX', KEYS[2], '-', '(' .. ARGV[6])
unweigh(ARGV[4])
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', ARGV[7], 'LIMIT', 0, 100)) do unweigh(key) end
redis.call('HSET', KEYS[6], ARGV[4], #ARGV[2] + ARGV[9])
redis.call('HINCRBY', KEYS[6], '*', #ARGV[2] + ARGV[9])
redis.call('ZADD', KEYS[4], ARGV[7], ARGV[4])
redis.call('ZADD', KEYS[5], ARGV[7] + ARGV[5], ARGV[4])
shed(ARGV[8], ARGV[10])
for _, name in ipairs({KEYS[2], KEYS[4], KEYS[5], KEYS[6]}) do
  if redis.call('PTTL', name) < tonumber(ARGV[5]) then redis.call('PEXPIRE', name, ARGV[5]) end
end
return 1
"""
)

#: Keep another bound, in the present generation. KEYS as above, the first unused. ARGV: generation, now, beginning of
#: all entries' names, bound in bytes. Gives how many went.
TRIM = (
    _WEIGHING
    + _SHEDDING
    + """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', ARGV[2])) do unweigh(key) end
return shed(ARGV[3], ARGV[4])
"""
)

#: Remove an entry if it is still the one with that id. KEYS: entry, index, its hits, the sizes. ARGV: entry id, key.
EVICT = (
    _WEIGHING
    + """
redis.call('ZREM', KEYS[2], ARGV[1] .. ARGV[2])
if redis.call('GETRANGE', KEYS[1], 0, 25) ~= ARGV[1] then return 0 end
unweigh(ARGV[2])
return redis.call('UNLINK', KEYS[1], KEYS[3]) > 0 and 1 or 0
"""
)

#: Begin a generation, whose number is a time, so that none comes twice. KEYS: generation. ARGV: now in milliseconds.
#: Gives the number that was, or nothing.
TURN = """
local old = redis.call('GET', KEYS[1])
local new = tonumber(ARGV[1])
if old and tonumber(old) >= new then new = tonumber(old) + 1 end
redis.call('SET', KEYS[1], string.format('%.0f', new))
return old
"""
