-- Decides that an owner is gone: from here on its beats and claims answer FENCED, and anybody may recover what it held.
-- KEYS: identities   ARGV: identity, "stale" (only when its beat is over 60 s old) or "own"   Answer: "ALIVE" or "OK"
redis.call('ZREM', KEYS[1], '')
local score = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0')
if ARGV[2] == 'stale' and score > 0 then
  local time = redis.call('TIME')
  if tonumber(time[1]) - score <= 60 then return 'ALIVE' end
end
redis.call('ZADD', KEYS[1], -1, ARGV[1])
return 'OK'
