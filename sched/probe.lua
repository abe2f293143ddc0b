-- Who probes a host whose circuit is open: one machine at a time, and none before the time that the last probe has set.
-- KEYS: circuit, probe:HOST, pairs
-- ARGV: host, token, milliseconds for which it stands, pair of the job that would be sent (0: none), when that was created (microseconds)
-- Answer: 1: it is the caller; or 0, also when an older job of the same pair waits, which must not be overtaken (settle.lua)
redis.call('HDEL', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value then -- what is not there (Redis has lost it, or it wasn't told yet) hinders nobody
  local probe_ms = string.match(value, '^open %d+ (%d+) %d+$')
  if not probe_ms or tonumber(probe_ms) > now_ms then return 0 end
end
local waiting = ARGV[4] ~= '0' and redis.call('HGET', KEYS[3], ARGV[4]) or ''
for created, at in string.gmatch(waiting, '(%d+) (%d+)') do
  if tonumber(created) < tonumber(ARGV[5]) and tonumber(at) > now_ms * 1000 then return 0 end
end
return redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) and 1 or 0
