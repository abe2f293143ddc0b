-- Claims due native deliveries straight from `retry` or `schedule`. Ruby's JSON has no spaces, and quotes inside a string are
-- escaped: these substrings are a filter that passes every plain delivery; what passes is parsed strictly afterwards. Entries
-- with a lock_digest are Ruby's. Behind as many of those as are looked at at once, a window goes on with each turn, so that they
-- hide nothing for ever where no Ruby takes them.
-- KEYS: identities, claimed:ID, zset, recoveries, ledger:ID   ARGV: identity, now, max jobs, max bytes, entries to look at, "r" or "s",
-- turn, entries of the window   Answer: "FENCED", or {jobs under suspicion, seq, score, bytes, ...}
redis.call('HDEL', KEYS[2], '')
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) <= 0 then return 'FENCED' end
local max_jobs, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local look, turn, window = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local out, jobs, bytes = {redis.call('HLEN', KEYS[4])}, 0, 0

local function is_full() return jobs >= max_jobs or bytes >= max_bytes end

local function take(from, count)
  local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[2], 'WITHSCORES', 'LIMIT', from, count)
  for i = 1, #due, 2 do
    if is_full() then break end
    local job, at = due[i], due[i + 1]
    if (string.find(job, '"class":"ActivityPub::DeliveryWorker"', 1, true)
        or string.find(job, '"class":"ActivityPub::LowPriorityDeliveryWorker"', 1, true))
        and not string.find(job, '"lock_digest"', 1, true) then
      local seq = tostring(redis.call('HINCRBY', KEYS[2], 'seq', 1))
      redis.call('HSET', KEYS[2], seq, ARGV[6] .. at .. '\n' .. job)
      redis.call('ZREM', KEYS[3], job)
      jobs, bytes = jobs + 1, bytes + #job
      out[#out + 1] = seq
      out[#out + 1] = at
      out[#out + 1] = job
    end
  end
  return #due / 2
end

if take(0, look) == look and not is_full() then
  local left = look - jobs
  local behind = redis.call('ZCOUNT', KEYS[3], '-inf', ARGV[2]) - left
  if behind > 0 then take(left + turn * window % behind, window) end
end
if jobs > 0 then redis.pcall('HINCRBY', KEYS[5], 'claimed', jobs) end
return out
