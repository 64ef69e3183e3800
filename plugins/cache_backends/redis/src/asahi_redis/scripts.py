"""What must happen in one step on the server: Lua, given all it works on as arguments."""

from __future__ import annotations

#: Store an entry, unless its generation is over. Its predecessor under the same key leaves the index.
#: KEYS: entry, index, generation. ARGV: generation, value, entry id, key, milliseconds to live, least id alive.
PUT = """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
local old = redis.call('GETRANGE', KEYS[1], 0, 25)
if #old == 26 then redis.call('ZREM', KEYS[2], old .. ARGV[4]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[5])
redis.call('ZADD', KEYS[2], 0, ARGV[3] .. ARGV[4])
redis.call('ZREMRANGEBYLEX', KEYS[2], '-', '(' .. ARGV[6])
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
return 1
"""

#: Remove an entry if it is still the one with that id. KEYS: entry, index, its hits. ARGV: entry id, key.
EVICT = """
redis.call('ZREM', KEYS[2], ARGV[1] .. ARGV[2])
if redis.call('GETRANGE', KEYS[1], 0, 25) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1], KEYS[3]) > 0 and 1 or 0
"""

#: Begin a generation, whose number is a time, so that none comes twice. KEYS: generation. ARGV: now in milliseconds.
#: Gives the number that was, or nothing.
TURN = """
local old = redis.call('GET', KEYS[1])
local new = tonumber(ARGV[1])
if old and tonumber(old) >= new then new = tonumber(old) + 1 end
redis.call('SET', KEYS[1], string.format('%.0f', new))
return old
"""
