-- Joins, or renews, an identity. Redis' own clock is the only one that counts.
-- KEYS: identities, held:ID   ARGV: identity, "join" or "beat"   Answer: "FENCED", or the time in seconds
redis.call('ZREM', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) <= 0 then return 'FENCED' end
if not score and ARGV[2] ~= 'join' then return 'FENCED' end
local time = redis.call('TIME')
local now = string.format('%d.%06d', tonumber(time[1]), tonumber(time[2]))
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.pcall('EXPIRE', KEYS[2], 3600) -- whoever recovers this identity may know nothing of that key
return now
