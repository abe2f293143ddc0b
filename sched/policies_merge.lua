-- Brings back what Redis has lost: from PostgreSQL, or from a machine's memory. For each name the latest version wins.
-- KEYS: policies   ARGV: "set" or "forget" (one that was taken back, if it still stands so), name, "VERSION TEXT", ...
-- Answer: how many have changed
redis.call('HDEL', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local changed = 0
for i = 1, #ARGV, 3 do
  local what, name, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local stored = redis.call('HGET', KEYS[1], name)
  if what == 'forget' then
    if stored == value then changed = changed + redis.call('HDEL', KEYS[1], name) end
  elseif tonumber(string.match(value, '^%d+')) > tonumber(string.match(stored or '0', '^%d+') or '0') then
    redis.call('HSET', KEYS[1], name, value)
    changed = changed + 1
  end
end
if changed > 0 then
  local time = redis.call('TIME')
  local version, last = time[1] * 1000000 + time[2], tonumber(redis.call('HGET', KEYS[1], ':version') or '0')
  redis.call('HSET', KEYS[1], ':version', string.format('%.0f', math.max(version, last + 1)))
end
return changed
