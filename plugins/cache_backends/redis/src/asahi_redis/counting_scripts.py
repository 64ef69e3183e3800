"""Counting and leasing in one step on the server: Lua, given all it works on as arguments.

Times are the server's own, so that clocks of workers do not matter. Amounts go to the server as text and are added
there as integers of 64 bits; Lua compares them as doubles, exactly up to 9,007,199 dollars.
"""

from __future__ import annotations

#: Take an amount within a sliding window. KEYS: what was taken (by time), its sum. ARGV: amount, limit, window in
#: milliseconds, a name of its own. Gives: granted, what is used, microseconds until there is room.
TAKE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local amount, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]) * 1000
local function size(member) return tonumber(string.match(member, ':(%d+)$')) end
local past = string.format('%.0f', now - window)
local gone = 0
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', past)) do gone = gone + size(member) end
if gone > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', past) end
local used = tonumber(redis.call('GET', KEYS[2]) or '-1') - gone
if used < 0 then
  used = 0
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do used = used + size(member) end
end
local granted = used + amount <= limit
if granted and amount > 0 then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[4] .. ':' .. ARGV[1])
  used = used + amount
end
redis.call('SET', KEYS[2], string.format('%.0f', used), 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if granted then return {1, used, 0} end
local excess, from = used + amount - limit, 0
while true do
  local page = redis.call('ZRANGE', KEYS[1], from, from + 99, 'WITHSCORES')
  if #page == 0 then return {0, used, window} end
  for at = 1, #page, 2 do
    excess = excess - size(page[at])
    if excess <= 0 then return {0, used, math.max(1000, tonumber(page[at + 1]) + window - now)} end
  end
  from = from + 100
end
"""

#: In every script below, KEYS[1] is the order in which the org's leases end, ARGV[1] what stands before the name of a
#: request's holds, ARGV[2] before that of a window, ARGV[3] how long windows are kept. A hold is `h:` (held), `x:` (its
#: lease is over) or `s:` (settled) and the amount.
_LEASES = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function state(hold) return hold and string.sub(hold, 1, 1) end
local function amount_of(hold) return string.sub(hold, 3) end
local function give_back(window, amount)
  if amount ~= '0' then redis.call('HINCRBY', window, 'held', '-' .. amount) end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)) do
  local cut = string.find(member, '\\n', 1, true)
  local holds, field = ARGV[1] .. string.sub(member, 1, cut - 1), string.sub(member, cut + 1)
  local hold = redis.call('HGET', holds, field)
  if state(hold) == 'h' then
    give_back(ARGV[2] .. field, amount_of(hold))
    redis.call('HSET', holds, field, 'x:' .. amount_of(hold))
  end
  redis.call('ZREM', KEYS[1], member)
end
"""

#: KEYS: leases, the request's holds, its windows. ARGV: request, amount, end of the lease, milliseconds for which holds
#: are kept after that, then for each window its field and its limit or nothing. Gives the number of the window that it
#: does not fit into, or 0.
RESERVE = (
    _LEASES
    + """
local wanted = tonumber(ARGV[5])
local more = {}
for at = 3, #KEYS do
  local field, limit = ARGV[8 + (at - 3) * 2], ARGV[9 + (at - 3) * 2]
  local hold = redis.call('HGET', KEYS[2], field)
  local held = state(hold) == 'h' and tonumber(amount_of(hold)) or 0
  local window = redis.call('HMGET', KEYS[at], 'spent', 'held')
  more[at] = math.max(0, wanted - held)
  local full = tonumber(window[1] or '0') + tonumber(window[2] or '0') + more[at]
  if more[at] > 0 and limit ~= '' and full > tonumber(limit) then return at - 2 end
end
for at = 3, #KEYS do
  local field = ARGV[8 + (at - 3) * 2]
  local hold = redis.call('HGET', KEYS[2], field)
  if not hold or state(hold) == 'h' then
    local held = hold and tonumber(amount_of(hold)) or 0
    redis.call('HINCRBY', KEYS[at], 'held', string.format('%.0f', more[at]))
    redis.call('PEXPIRE', KEYS[at], ARGV[3])
    redis.call('HSET', KEYS[2], field, 'h:' .. string.format('%.0f', held + more[at]))
    redis.call('ZADD', KEYS[1], ARGV[6], ARGV[4] .. '\\n' .. field)
  end
end
redis.call('PEXPIRE', KEYS[2], math.max(0, tonumber(ARGV[6]) - now) + tonumber(ARGV[7]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0
"""
)

#: KEYS: leases, the request's holds. ARGV: request, cost, or nothing to give back without a charge. Gives how many
#: windows held it, and how many no longer did.
SETTLE = (
    _LEASES
    + """
local holds = redis.call('HGETALL', KEYS[2])
local held, late = 0, 0
for at = 1, #holds, 2 do
  local field, hold = holds[at], holds[at + 1]
  local window = ARGV[2] .. field
  local charged = ARGV[5] ~= '' and (state(hold) == 'h' or state(hold) == 'x')
  if state(hold) == 'h' then
    held = held + 1
    give_back(window, amount_of(hold))
  elseif charged then
    late = late + 1
  end
  if charged then
    redis.call('HINCRBY', window, 'spent', ARGV[5])
    redis.call('PEXPIRE', window, ARGV[3])
  end
  if charged or state(hold) == 'h' then redis.call('HSET', KEYS[2], field, 's:0') end
  redis.call('ZREM', KEYS[1], ARGV[4] .. '\\n' .. field)
end
return {held, late}
"""
)

#: KEYS: leases, windows. Gives spent and held of each.
WINDOWS = (
    _LEASES
    + """
local told = {}
for at = 2, #KEYS do
  local window = redis.call('HMGET', KEYS[at], 'spent', 'held')
  told[#told + 1], told[#told + 2] = window[1] or '0', window[2] or '0'
end
return told
"""
)

#: Charge windows, once. KEYS: what tells that it was done, windows. ARGV: how long windows are kept, amounts.
CHARGE = """
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end
for at = 2, #KEYS do
  redis.call('HINCRBY', KEYS[at], 'spent', ARGV[at])
  redis.call('PEXPIRE', KEYS[at], ARGV[1])
end
return 1
"""

#: What windows have spent is at least this. KEYS: windows. ARGV: how long windows are kept, amounts.
RAISE = """
for at = 1, #KEYS do
  if tonumber(redis.call('HGET', KEYS[at], 'spent') or '0') < tonumber(ARGV[at + 1]) then
    redis.call('HSET', KEYS[at], 'spent', ARGV[at + 1])
    redis.call('PEXPIRE', KEYS[at], ARGV[1])
  end
end
return 1
"""
