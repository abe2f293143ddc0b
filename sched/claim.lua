-- Claims jobs: what BLMOVE left in the wait list first, then from the queue's consuming end. Job by job: into the claim, then
-- out of the list, so that stopping anywhere duplicates and never loses.
-- KEYS: identities, claimed:ID, wait:ID, queue, recoveries, ledger:ID
-- ARGV: identity, max jobs, max bytes, the queue's letter: "q" (push), or "p" (pull, where nobody waits with BLMOVE)
-- Answer: "FENCED", or {jobs under suspicion, seq, bytes, seq, bytes, ...}
redis.call('HDEL', KEYS[2], '') -- a write that maxmemory never refuses lets the next ones pass
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) <= 0 then return 'FENCED' end
local max_jobs, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local out, jobs, bytes = {redis.call('HLEN', KEYS[5])}, 0, 0
for k = ARGV[4] == 'q' and 3 or 4, 4 do
  while jobs < max_jobs and bytes < max_bytes do
    local job = redis.call('LINDEX', KEYS[k], -1)
    if not job then break end
    local seq = tostring(redis.call('HINCRBY', KEYS[2], 'seq', 1))
    redis.call('HSET', KEYS[2], seq, ARGV[4] .. '\n' .. job)
    redis.call('RPOP', KEYS[k])
    jobs, bytes = jobs + 1, bytes + #job
    out[#out + 1] = seq
    out[#out + 1] = job
  end
end
if jobs > 0 then redis.pcall('HINCRBY', KEYS[6], 'claimed', jobs) end -- last: it may be wrong, a job may not
return out
