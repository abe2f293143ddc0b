-- Ends claims. For each: only if the claim still stands is the job written where it goes on, then the claim is removed; a claim
-- that is gone was recovered by somebody else (or settled by the call whose answer was lost): nothing is written.
-- KEYS: claimed:ID, queue, retry, schedule, dead, queues, recoveries, ledger:ID, queue:pull, queues of hand-offs...
-- ARGV: now, then for each job: seq, verb, a, b, jid ("" unless it is under suspicion), word for the ledger
--   done                  nothing is left of it
--   retry|schedule  score, bytes
--   dead            bytes, score: the time it died, each its own, since the Web UI finds entries by it
--   return          back to where it was claimed from, unchanged
--   handoff         "INDEX NAME" of the queue (of its key in KEYS), bytes ("": the claim's own)
-- Answer: for each job 1, or 0 when its claim was gone
redis.call('HDEL', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
local out, counts = {}, {}
for i = 2, #ARGV, 6 do
  local seq, verb, a, b, jid, word = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  if redis.call('HEXISTS', KEYS[1], seq) == 0 then
    out[#out + 1] = 0
  else
    if verb == 'retry' then
      redis.call('ZADD', KEYS[3], a, b)
    elseif verb == 'schedule' then
      redis.call('ZADD', KEYS[4], a, b)
    elseif verb == 'dead' then
      redis.call('ZADD', KEYS[5], b, a)
      redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', string.format('%.6f', tonumber(ARGV[1]) - 15552000))
      redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -10000)
    elseif verb == 'return' or verb == 'handoff' then
      local value = redis.call('HGET', KEYS[1], seq)
      local cut = string.find(value, '\n', 1, true) or 0 -- a value of unknown form goes to the queue whole
      local kind, at, job = string.sub(value, 1, 1), string.sub(value, 2, cut - 1), string.sub(value, cut + 1)
      if verb == 'handoff' then
        local index, name = string.match(a, '^(%d+) (.*)$')
        redis.call('SADD', KEYS[6], name)
        redis.call('LPUSH', KEYS[tonumber(index)], b ~= '' and b or job)
      elseif kind == 'r' then
        redis.call('ZADD', KEYS[3], at, job)
      elseif kind == 's' then
        redis.call('ZADD', KEYS[4], at, job)
      else
        redis.call('RPUSH', KEYS[kind == 'p' and 9 or 2], job)
      end
    end
    redis.call('HDEL', KEYS[1], seq)
    if jid ~= '' then redis.call('HDEL', KEYS[7], jid) end
    counts[word] = (counts[word] or 0) + 1
    out[#out + 1] = 1
  end
end
for word, count in pairs(counts) do redis.pcall('HINCRBY', KEYS[8], word, count) end -- last: it may be wrong, a job may not
return out
