-- Claims jobs: what BLMOVE left in the wait list first, then from the queue's consuming end. Some at a time: into the claims, then
-- out of the list, so that stopping anywhere duplicates and never loses.
-- KEYS: identities, claimed:ID, wait:ID, queue, recoveries, ledger:ID
-- ARGV: identity, max jobs, max bytes, the queue's letter: "q" (push), or "p" (pull, where nobody waits with BLMOVE)
-- Answer: "FENCED", or {jobs under suspicion, seq, bytes, seq, bytes, ...}
redis.call('HDEL', KEYS[2], '') -- a write that maxmemory never refuses lets the next ones pass
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) <= 0 then return 'FENCED' end
local max_jobs, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local out, jobs, bytes = {redis.call('HLEN', KEYS[5])}, 0, 0
local AT_ONCE, AT_ONCE_BYTES = 32, 65536

-- As many from the end as are of the size of its last one and fit in a step.
local function step_of(key)
  local last = redis.call('LINDEX', key, -1)
  if not last then return {} end
  local count = math.min(AT_ONCE, math.floor(AT_ONCE_BYTES / #last), max_jobs - jobs)
  return count > 1 and redis.call('LRANGE', key, -count, -1) or {last}
end

for k = ARGV[4] == 'q' and 3 or 4, 4 do
  while jobs < max_jobs and bytes < max_bytes do
    local found, count = step_of(KEYS[k]), 0
    while count < #found and bytes < max_bytes do
      bytes, count = bytes + #found[#found - count], count + 1
    end
    if count == 0 then break end
    local seq, claims = redis.call('HINCRBY', KEYS[2], 'seq', count) - count, {}
    for i = 1, count do
      local field, job = string.format('%.0f', seq + i), found[#found - i + 1]
      claims[#claims + 1], claims[#claims + 2] = field, ARGV[4] .. '\n' .. job
      out[#out + 1], out[#out + 2] = field, job
    end
    redis.call('HSET', KEYS[2], unpack(claims))
    redis.call('LTRIM', KEYS[k], 0, -count - 1)
    jobs = jobs + count
  end
end
if jobs > 0 then redis.pcall('HINCRBY', KEYS[6], 'claimed', jobs) end -- last: it may be wrong, a job may not
return out
