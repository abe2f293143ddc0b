-- With pair.lua.
-- Removes jobs from the list of a machine, which hasn't claimed them yet: an admin drops them.
-- KEYS: wait:ID, held:ID, claimed:ID   ARGV: the jobs   Answer: how many were removed
redis.call('LTRIM', KEYS[1], 0, -1) -- a write that maxmemory never refuses lets the next ones pass
local changed, removed = {}, 0
for i = 1, #ARGV do
  if redis.call('LREM', KEYS[1], -1, ARGV[i]) == 1 then
    local pair = pair_of(ARGV[i])
    removed = removed + 1
    if pair then
      local seq, waiting, passes = held_of(changed[pair] == nil and tried(redis.pcall('HGET', KEYS[2], pair)) or changed[pair])
      changed[pair] = held_text(seq, math.max(waiting - 1, 0), passes)
    end
  end
end
write_back(KEYS[2], changed)
nothing_held(KEYS[3], KEYS[1], KEYS[2])
return removed
