-- What second knocks have taught, for all machines: a sorted set of "KIND ORIGIN" by Redis' time of learning. KIND: "cavage" or
-- "rfc9421", what the origin accepts; "vain", it accepted neither just now.
-- KEYS: schemes   ARGV: since (a score), most members to answer, seconds and members to keep at most, then the members learnt
-- Answer: now, then member and score of what was learnt at or after `since`, the oldest first
redis.call('ZREM', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local time = redis.call('TIME')
local now = string.format('%d.%06d', tonumber(time[1]), tonumber(time[2]))
for i = 5, #ARGV do
  local kind, origin = string.match(ARGV[i], '^(%w+) (.+)$')
  if kind ~= 'vain' then
    redis.call('ZREM', KEYS[1], 'cavage ' .. origin, 'rfc9421 ' .. origin, 'vain ' .. origin)
  end
  redis.call('ZADD', KEYS[1], now, ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', tonumber(now) - tonumber(ARGV[3])))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[4]))
local out = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
table.insert(out, 1, now)
return out
