-- With pair.lua.
-- Calls back what is booked at a host, in the order in which it would come by itself: the first now, each next one a gap later, none
-- later than it would come, and none before what was called back by the call before. Each entry is scored anew where it is, so that
-- it is always there once. Places whose job is gone (an admin may have dropped thousands) cost a look and no more.
-- KEYS: booked:HOST, pairs, reserved, retry, schedule   ARGV: host, most to call back, gap in milliseconds
-- Answer: how many were called back, how many are left
redis.call('ZREM', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local LOOK, LOOKS = 100, 10
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
local function score(us) return string.format('%d.%06d', math.floor(us / 1e6), us % 1e6) end
local function reserved_us(field) return (tonumber(string.match(redis.call('HGET', KEYS[3], field) or '', '^%d+$')) or 0) * 1000 end
local called = ARGV[1] .. ' called'
local at = math.max(now, reserved_us(called))
local moved, count, gap = 0, tonumber(ARGV[2]), math.max(tonumber(ARGV[3]) * 1000, 1)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', score(now)) -- these come by themselves
for _ = 1, LOOKS do
  local places = redis.call('ZRANGE', KEYS[1], 0, LOOK - 1)
  for _, place in ipairs(places) do
    if moved >= count then break end
    local zset, own = KEYS[string.sub(place, 1, 1) == 'r' and 4 or 5], string.sub(place, 2)
    for _, job in ipairs(redis.call('ZRANGEBYSCORE', zset, own, own, 'LIMIT', 0, 4)) do
      if at < tonumber(own) * 1e6 then
        redis.call('ZADD', zset, score(at), job)
        moved_to(KEYS[2], job, own, at)
      end
      at, moved = at + gap, moved + 1
    end
    redis.call('ZREM', KEYS[1], place)
  end
  if moved >= count or #places < LOOK then break end
end
if moved > 0 then redis.call('HSET', KEYS[3], called, string.format('%.0f', math.ceil(at / 1000))) end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then at = math.max(at, tonumber(last[2]) * 1e6) end
if reserved_us(ARGV[1]) > at then redis.call('HSET', KEYS[3], ARGV[1], string.format('%.0f', math.ceil(at / 1000))) end
return {moved, redis.call('ZCARD', KEYS[1])}
