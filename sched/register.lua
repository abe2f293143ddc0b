-- Registers a machine in `processes`, unless as many others as may are there and alive: each registered process makes all
-- pollers slower. One too many leaves.
-- KEYS: processes, identities   ARGV: identity, limit, seconds after whose silence a machine is dead   Answer: 1, or 0
redis.call('SREM', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local others = 0
for _, identity in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], redis.call('TIME')[1] - ARGV[3], '+inf')) do
  if identity ~= ARGV[1] and redis.call('SISMEMBER', KEYS[1], identity) == 1 then others = others + 1 end
end
if others >= tonumber(ARGV[2]) then
  redis.call('SREM', KEYS[1], ARGV[1])
  return 0
end
redis.call('SADD', KEYS[1], ARGV[1])
return 1
