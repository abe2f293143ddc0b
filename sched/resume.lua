-- With pair.lua.
-- What was put off is due sooner: each job where it is, a microsecond behind the one before, so that all keep their order.
-- KEYS: the set of the jobs (retry or schedule), pairs   ARGV: the first one's time in microseconds (now, when that is later), then the jobs
-- Answer: how many come sooner than they would have, the time of the next one
redis.call('ZREM', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local time = redis.call('TIME')
local at, moved = math.max(tonumber(ARGV[1]), time[1] * 1e6 + time[2]), 0
for i = 2, #ARGV do
  local own = redis.call('ZSCORE', KEYS[1], ARGV[i]) -- one that is gone stays gone
  if own and at < tonumber(own) * 1e6 then
    redis.call('ZADD', KEYS[1], string.format('%d.%06d', math.floor(at / 1e6), at % 1e6), ARGV[i])
    moved_to(KEYS[2], ARGV[i], own, at)
    at, moved = at + 1, moved + 1
  end
end
return {moved, string.format('%.0f', at)}
