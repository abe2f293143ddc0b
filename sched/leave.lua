-- The end of a drain: leaves only when nothing is held any more, and then gives back what waits in its list: BLMOVE took it last, or
-- others have put it there, behind what was held.
-- KEYS: identities, claimed:ID, wait:ID, queue, ledger:ID, ledger, held:ID   ARGV: identity   Answer: claims still held (0: the identity is gone)
redis.call('HDEL', KEYS[2], '')
local left = redis.call('HLEN', KEYS[2]) - redis.call('HEXISTS', KEYS[2], 'seq')
if left > 0 then return left end
redis.call('DEL', KEYS[7])
while true do
  local job = redis.call('LINDEX', KEYS[3], 0)
  if not job then break end
  redis.call('RPUSH', KEYS[4], job)
  redis.call('LPOP', KEYS[3])
end
local counts = redis.pcall('HGETALL', KEYS[5]) -- what is left of an identity is in the total
for i = 1, #counts, 2 do redis.pcall('HINCRBY', KEYS[6], counts[i], counts[i + 1]) end
redis.call('DEL', KEYS[5])
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[1])
return 0
