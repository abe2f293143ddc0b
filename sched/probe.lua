-- Who probes a host whose circuit is open: one machine at a time, and none before the time that the last probe has set.
-- KEYS: circuit, probe:HOST   ARGV: host, token, milliseconds for which it stands   Answer: 1: it is the caller, or 0
redis.call('HDEL', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value then -- what is not there (Redis has lost it, or it wasn't told yet) hinders nobody
  local probe_ms = string.match(value, '^open %d+ (%d+) %d+$')
  if not probe_ms or tonumber(probe_ms) > now_ms then return 0 end
end
return redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) and 1 or 0
