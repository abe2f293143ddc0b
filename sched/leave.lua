-- The end of a drain: gives back what BLMOVE took last; leaves only when nothing is held any more.
-- KEYS: identities, claimed:ID, wait:ID, queue   ARGV: identity   Answer: claims still held (0: the identity is gone)
redis.call('HDEL', KEYS[2], '')
while true do
  local job = redis.call('LINDEX', KEYS[3], 0)
  if not job then break end
  redis.call('RPUSH', KEYS[4], job)
  redis.call('LPOP', KEYS[3])
end
local left = redis.call('HLEN', KEYS[2]) - redis.call('HEXISTS', KEYS[2], 'seq')
if left == 0 then
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return left
