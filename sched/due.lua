-- With pair.lua.
-- Claims due native deliveries straight from `retry` or `schedule`. Ruby's JSON has no spaces, and quotes inside a string are
-- escaped: these substrings are a filter that passes every plain delivery; what passes is parsed strictly afterwards. Entries
-- with a lock_digest are Ruby's; those of a pair that another machine has in its hands are left to that one. Behind as many of these
-- as are looked at at once, a window goes on with each turn, so that they hide nothing for ever where nobody takes them.
-- KEYS: identities, claimed:ID, zset, recoveries, ledger:ID, held:ID, pairs, retry, schedule, then of each other machine held:ID
-- ARGV: identity, now, max jobs, max bytes, entries to look at, "r" or "s", turn, entries of the window
-- Answer: "FENCED", or {jobs under suspicion, seq, score, bytes, what is booked of its pair, ...}
redis.call('HDEL', KEYS[2], '')
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) <= 0 then return 'FENCED' end
local OTHERS_KEYS, PASSED = 10, 64
local max_jobs, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local look, turn, window = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local out, jobs, bytes = {redis.call('HLEN', KEYS[4])}, 0, 0

local function is_full() return jobs >= max_jobs or bytes >= max_bytes end

local function is_native(job)
  return (string.find(job, '"class":"ActivityPub::DeliveryWorker"', 1, true)
      or string.find(job, '"class":"ActivityPub::LowPriorityDeliveryWorker"', 1, true))
      and not string.find(job, '"lock_digest"', 1, true)
end

-- Of the pairs of these jobs, those that others have.
local function owned_of(pairs_of, count)
  local owned = {}
  for i = OTHERS_KEYS, #KEYS do
    for pair, text in pairs(look_up(KEYS[i], pairs_of, count)) do owned[pair] = owned[pair] or text end
  end
  return owned
end

local function take(from, count)
  local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[2], 'WITHSCORES', 'LIMIT', from, count)
  local found, pairs_of, behind = {}, {}, {}
  for i = 1, #due, 2 do
    if #found == max_jobs - jobs + PASSED then break end
    if is_native(due[i]) then
      local n = #found + 1
      found[n] = i
      pairs_of[n], behind[n] = pair_of(due[i])
    end
  end
  local owned, held = owned_of(pairs_of, #found), look_up(KEYS[6], pairs_of, #found)
  local chains, unbooked, hands = look_up(KEYS[7], pairs_of, #found), {}, {}
  for n, i in ipairs(found) do
    if is_full() then break end
    local job, at, pair = due[i], due[i + 1], pairs_of[n]
    if not (pair and owned[pair]) then
      local seq = redis.call('HINCRBY', KEYS[2], 'seq', 1)
      local field = string.format('%.0f', seq)
      redis.call('HSET', KEYS[2], field, ARGV[6] .. at .. '\n' .. job)
      redis.call('ZREM', KEYS[3], job)
      jobs, bytes = jobs + 1, bytes + #job
      out[#out + 1], out[#out + 2], out[#out + 3] = field, at, job
      out[#out + 1] = came_back(chains, unbooked, pair, job, behind[n], KEYS[8], KEYS[9])
      if pair then
        local _, waiting = held_of(held[pair])
        hands[pair] = held_text(seq, waiting)
      end
    end
  end
  write_back(KEYS[6], hands)
  write_back(KEYS[7], unbooked)
  return #due / 2
end

if take(0, look) == look and not is_full() then
  local left = look - jobs
  local behind = redis.call('ZCOUNT', KEYS[3], '-inf', ARGV[2]) - left
  if behind > 0 then take(left + turn * window % behind, window) end
end
if jobs > 0 then redis.pcall('HINCRBY', KEYS[5], 'claimed', jobs) end
return out
