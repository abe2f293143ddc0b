-- The pulse of a machine: tells what it found out about circuits, and reads what the others did since.
-- KEYS: circuits, circuit, identities, reserved, pulses, then for each host told of its probe's token
-- ARGV: where the last reading ended ("-inf": all), most hosts to answer, where the sweep of the log and that of the reservations
--   ended, identity ("": it isn't a member now), 1 when it takes no jobs or suspects itself, deliveries a second: how many the fleet may make
--   (0: no limit), what this machine wants, and what it asks for, its proxies ("NAME,..."); then for each host told of: host, value ("open OPENED_MS PROBE_MS
--   BACKOFF_MS", "closed", or "": a probe that wasn't made; of "~" and a host: "held UNTIL_MS"), token ("": no probe has shown it)
-- Answer: now in microseconds, live machines, where this reading ended, 1 when there is more, where the sweeps ended, how many
--   others take jobs and don't suspect themselves, deliveries a second that it may make for the next three seconds, and after these,
--   what the others want (with blanks between; -1: not known), which of them take jobs (the same; with "=" and the proxies of those
--   that have some behind the identity), then host and value of what has
--   changed (the caller knows its own), and of what was told in vain
redis.call('ZREM', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local KEEP_CLOSED_US, KEEP_US, MAX, SWEEP, WORD_US, LEASE_US = 3600e6, 7 * 86400e6, 65536, 100, 5e6, 3e6
local function text(us) return string.format('%.0f', us) end
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]

-- Each change has a place of its own behind all others, whatever the clock does: a reader who stands at one has seen those before.
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local at, vain = now - 1, {}
if newest[2] then at = math.max(at, tonumber(newest[2])) end
for i = 11, #ARGV, 3 do
  local host, value, token, probe = ARGV[i], ARGV[i + 1], ARGV[i + 2], KEYS[6 + (i - 11) / 3]
  local before = redis.call('HGET', KEYS[2], host)
  local counts, changes = true, value ~= '' and value ~= (before or 'closed')
  if token ~= '' then
    counts = redis.call('GET', probe) == token
  elseif string.sub(value, 1, 5) == 'held ' then -- the later end counts
    changes = tonumber(string.sub(value, 6)) > (tonumber(string.match(before or '', '^held (%d+)$')) or 0)
  elseif value ~= 'closed' then -- the first to open it has said when it is to be probed
    counts = not before or before == 'closed'
  end
  if not counts and value ~= '' and before then
    vain[#vain + 1] = host
    vain[#vain + 1] = before
  end
  if counts and changes then -- the log first: what is there without a value is swept, a value that isn't there would stay
    at = at + 1
    redis.call('ZADD', KEYS[1], text(at), host)
    redis.call('HSET', KEYS[2], host, value)
  end
  if counts and token ~= '' then redis.call('DEL', probe) end
end

local function forget(host)
  redis.call('HDEL', KEYS[2], host)
  redis.call('ZREM', KEYS[1], host)
end
local excess = math.min(redis.call('ZCARD', KEYS[1]) - MAX, SWEEP)
if excess > 0 then
  for _, host in ipairs(redis.call('ZRANGE', KEYS[1], 0, excess - 1)) do forget(host) end
end
local old = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[3], text(now - KEEP_CLOSED_US), 'WITHSCORES', 'LIMIT', 0, SWEEP)
for i = 1, #old, 2 do
  local value = redis.call('HGET', KEYS[2], old[i]) or ''
  local held_ms = tonumber(string.match(value, '^held (%d+)$')) or 0 -- until its own time
  local lasts = (string.sub(value, 1, 5) == 'open ' or held_ms * 1000 > now) and tonumber(old[i + 1]) >= now - KEEP_US
  if not lasts then forget(old[i]) end
end
local swept = #old == 2 * SWEEP and '(' .. old[#old] or '-inf'
local scan = redis.call('HSCAN', KEYS[4], ARGV[4], 'COUNT', 20)
for i = 1, #scan[2], 2 do
  if (tonumber(scan[2][i + 1]) or 0) * 1000 < now then redis.call('HDEL', KEYS[4], scan[2][i]) end
end

newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local since = ARGV[1]
if newest[2] and since ~= '-inf' and tonumber(newest[2]) < tonumber(string.sub(since, 2)) then
  since = '-inf' -- another log than the one we read: Redis has lost data
end
local page = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local full = #page == 2 * tonumber(ARGV[2])
if #page > 0 then since = '(' .. page[#page] end

-- What the machines say of themselves, and how many deliveries they hold: what is asked for is given as far as the others don't
-- hold it. Who says nothing (any more) holds an even share at most.
local live, me, takers = {}, ARGV[5], {}
local rate, held, wants = tonumber(ARGV[7]), 0, {}
local machines = redis.call('ZRANGEBYSCORE', KEYS[3], string.format('(%.6f', now / 1e6 - 60), '+inf')
for _, identity in ipairs(machines) do live[identity] = true end
local even = rate / math.max(#machines, 1)
local words = redis.call('HGETALL', KEYS[5])
for i = 1, #words, 2 do
  if live[words[i]] then live[words[i]] = words[i + 1] else redis.call('HDEL', KEYS[5], words[i]) end
end
for _, identity in ipairs(machines) do
  if identity ~= me then
    local word = live[identity] ~= true and live[identity] or ''
    local said, suspicious, wanted, first, later, proxies =
      string.match(word, '^(%d+) (%d) ([%d.]+) ([%d.]+) ([%d.]+) ?([^ ]*)$')
    local age = said and now - tonumber(said) or 1e18
    if suspicious == '0' and age < WORD_US then takers[#takers + 1] = identity .. (proxies ~= '' and '=' .. proxies or '') end
    held = held + (age < LEASE_US and tonumber(first) or math.min(tonumber(later or 1e9), even))
    wants[#wants + 1] = age < WORD_US and wanted or '-1'
  end
end
local first = math.max(math.min(tonumber(ARGV[9]), rate - held), 0)
local later = math.min(first, even)
local shares = string.format('%.3f %.3f', first, later)
local proxies = ARGV[10] ~= '' and ' ' .. ARGV[10] or '' -- older machines understand no word with proxies
if me ~= '' then redis.call('HSET', KEYS[5], me, string.format('%.0f %s %.3f %s%s', now, ARGV[6], tonumber(ARGV[8]), shares, proxies)) end

local out = {text(now), #machines, since, full and 1 or 0, swept, scan[1], #takers, shares, table.concat(wants, ' '), table.concat(takers, ' ')}
for i = 1, #page, 2 do
  local value = redis.call('HGET', KEYS[2], page[i])
  if value then
    out[#out + 1] = page[i]
    out[#out + 1] = value
  end
end
for i = 1, #vain do out[#out + 1] = vain[i] end
return out
