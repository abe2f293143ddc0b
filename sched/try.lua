-- With pair.lua.
-- An admin wants a host to be tried now: the probe of its open circuit is due at once, on all machines, and so is one of its jobs.
-- Each stays where it is and is only scored anew, so that it is always there once.
-- KEYS: circuits, circuit, probe:HOST, booked:HOST, the set of the job (retry or schedule), pairs   ARGV: host, "r" or "s", the job ("": none)
-- Answer: 1 when the circuit is open, 1 when it is being probed this moment, 1 when the job is due now
redis.call('ZREM', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
local function score(us) return string.format('%d.%06d', math.floor(us / 1e6), us % 1e6) end

local open, probing, due = 0, redis.call('EXISTS', KEYS[3]), 0
local opened, probe, backoff = string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '', '^open (%d+) (%d+) (%d+)$')
if opened then
  open = 1
  if probing == 0 and tonumber(probe) * 1000 > now then -- into the log, behind all others: each machine reads it within a second
    local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
    local at = math.max(now, (tonumber(newest[2]) or 0) + 1)
    redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[1])
    redis.call('HSET', KEYS[2], ARGV[1], string.format('open %s %.0f %s', opened, math.floor(now / 1000), backoff))
  end
end
local own = ARGV[3] ~= '' and redis.call('ZSCORE', KEYS[5], ARGV[3])
if own then
  due = 1
  if tonumber(own) * 1e6 > now then
    redis.call('ZADD', KEYS[5], score(now), ARGV[3])
    redis.call('ZREM', KEYS[4], ARGV[2] .. score(math.floor(tonumber(own) * 1e6 + 0.5)))
    moved_to(KEYS[6], ARGV[3], own, now)
  end
end
return {open, probing, due}
