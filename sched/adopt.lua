-- Puts claims back that a fail-over lost, from the owner's memory, while the owner is still registered.
-- KEYS: identities, claimed:ID, ledger:ID   ARGV: identity, then seq, value, ...   Answer: "FENCED" or how many were put back
redis.call('HDEL', KEYS[2], '')
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) <= 0 then return 'FENCED' end
local count, highest = 0, tonumber(redis.call('HGET', KEYS[2], 'seq') or '0')
for i = 2, #ARGV, 2 do
  count = count + redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1])
  if tonumber(ARGV[i]) > highest then highest = tonumber(ARGV[i]) end
end
redis.call('HSET', KEYS[2], 'seq', highest) -- a number is never given twice, or a claim would overwrite another
if count > 0 then redis.pcall('HINCRBY', KEYS[3], 'claimed', count) end
return count
