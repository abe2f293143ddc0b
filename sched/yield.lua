-- With pair.lua.
-- A machine that takes nothing now gives back what others have put into its list, or BLMOVE has: the oldest is served first.
-- KEYS: identities, wait:ID, queue, held:ID, claimed:ID   ARGV: most jobs   Answer: how many went back
redis.call('ZREM', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local changed, back = {}, 0
for _ = 1, tonumber(ARGV[1]) do
  local job = redis.call('LINDEX', KEYS[2], 0)
  if not job then break end
  local pair = pair_of(job)
  if pair then
    local seq, waiting = held_of(changed[pair] == nil and tried(redis.pcall('HGET', KEYS[4], pair)) or changed[pair])
    changed[pair] = held_text(seq, math.max(waiting - 1, 0))
  end
  redis.call('RPUSH', KEYS[3], job)
  redis.call('LPOP', KEYS[2])
  back = back + 1
end
write_back(KEYS[4], changed)
nothing_held(KEYS[5], KEYS[2], KEYS[4])
return back
