-- With pair.lua.
-- What was put off is due sooner: each job where it is, a microsecond behind the one before, so that all keep their order. One that
-- has failed and waits no longer than Mastodon's formula has it wait was not put off.
-- KEYS: the set of the jobs (retry or schedule), pairs   ARGV: the first one's time in microseconds (now, when that is later), then the jobs
-- Answer: how many come sooner than they would have, the time of the next one
redis.call('ZREM', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local time = redis.call('TIME')
local at, moved = math.max(tonumber(ARGV[1]), time[1] * 1e6 + time[2]), 0

-- In seconds, the longest jitter included (retry.c); 0: it has never failed. Within a string of JSON no such quotes stand.
local function latest_retry(job)
  local count = tonumber(string.match(job, '"retry_count":(%d+)') or '')
  local failed = tonumber(string.match(job, '"retried_at":([%d.]+)') or string.match(job, '"failed_at":([%d.]+)') or '')
  if not count or not failed then return 0 end
  return (failed > 1e11 and failed / 1000 or failed) + 1.5 * count ^ 4 + 15 + 10 * (count + 1)
end

for i = 2, #ARGV do
  local job = ARGV[i]
  local own = tonumber(redis.call('ZSCORE', KEYS[1], job) or '') -- one that is gone stays gone
  if own and at < own * 1e6 and own > latest_retry(job) then
    redis.call('ZADD', KEYS[1], string.format('%d.%06d', math.floor(at / 1e6), at % 1e6), job)
    moved_to(KEYS[2], job, own, at)
    at, moved = at + 1, moved + 1
  end
end
return {moved, string.format('%.0f', at)}
