-- Claims due native deliveries straight from `retry` or `schedule`. Ruby's JSON has no spaces, and quotes inside a string are
-- escaped: these substrings are a filter that passes every plain delivery; what passes is parsed strictly afterwards. Entries
-- with a lock_digest are Ruby's.
-- KEYS: identities, claimed:ID, zset, recoveries, ledger:ID   ARGV: identity, now, max jobs, max bytes, entries to look at, "r" or "s"
-- Answer: "FENCED", or {jobs under suspicion, seq, score, bytes, ...}
redis.call('HDEL', KEYS[2], '')
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) <= 0 then return 'FENCED' end
local max_jobs, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local out, jobs, bytes = {redis.call('HLEN', KEYS[4])}, 0, 0
local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[2], 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[5]))
for i = 1, #due, 2 do
  if jobs >= max_jobs or bytes >= max_bytes then break end
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
if jobs > 0 then redis.pcall('HINCRBY', KEYS[5], 'claimed', jobs) end
return out
