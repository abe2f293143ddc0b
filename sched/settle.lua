-- With pair.lua.
-- With booking.lua.
-- Ends claims. For each: only if the claim still stands is the job written where it goes on, then the claim is removed; a claim
-- that is gone was recovered by somebody else (or settled by the call whose answer was lost): nothing is written.
-- KEYS: claimed:ID, queue, retry, schedule, dead, queues, recoveries, ledger:ID, queue:pull, reserved, pairs, held:ID, wait:ID,
--   identities, then those that jobs name: the queue of a hand-off; booked:HOST; of another machine wait:ID and held:ID
-- ARGV: now, then for each job: seq, verb, a, b, jid ("" unless it is under suspicion), word for the ledger, and "PAIR SEQ" when the
--   machine has no other job of its pair in its hands, the latest one of which had that seq ("": it has, or it has no order)
--   done                  nothing is left of it
--   retry|schedule  score, or "SCORE INDEX SHARE_MS PAIR CREATED_US HOST" when it is booked at a host (INDEX: of booked:HOST; 0: it
--                   isn't called back sooner), bytes
--                   ("": the claim's own)
--   dead            bytes, score: the time it died, each its own, since the Web UI finds entries by it
--   return          back to where it was claimed from, unchanged
--   pass            "INDEX IDENTITY" of a machine (of its first key in KEYS): into its list, or back when it is no more
--   handoff         "INDEX NAME" of the queue (of its key in KEYS), bytes ("": the claim's own)
-- Answer: for each job 1 (booked at a host: the milliseconds at which it comes), or 0 when its claim was gone; then how many wait for
--   this machine in its list
redis.call('HDEL', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
reserved, chained = KEYS[10], KEYS[11]

-- These pairs are anybody's again, but for what was claimed since, or waits.
local released, latest, releases = {}, {}, 0

local function let_go()
  local held, changed = look_up(KEYS[12], released, releases), {}
  for i = 1, releases do
    local pair, text = released[i], held[released[i]]
    if text == latest[i] then
      changed[pair] = false
    elseif text then
      local seq, waiting = held_of(text)
      if seq <= tonumber(latest[i]) then changed[pair] = held_text(0, waiting) end
    end
  end
  write_back(KEYS[12], changed)
end

-- Goes back, with what waits in this machine's list since it belongs behind it: so that the oldest is taken next.
local listed
local function take_back(key, job)
  local pair = pair_of(job)
  local text = pair and tried(redis.pcall('HGET', KEYS[12], pair))
  local seq, waiting = held_of(text)
  if waiting > 0 then
    listed = listed or tried(redis.pcall('LRANGE', KEYS[13], 0, -1)) or {}
    for i, other in ipairs(listed) do
      if other and pair_of(other) == pair then
        redis.call('RPUSH', key, other)
        redis.call('LREM', KEYS[13], 1, other)
        listed[i], waiting = false, waiting - 1
      end
    end
    write_back(KEYS[12], {[pair] = held_text(seq, math.max(waiting, 0))})
  end
  redis.call('RPUSH', key, job)
end

-- The same of a job that was due: whoever takes what is behind it hears that it comes any moment.
local function due_again(zset, at, job)
  local pair, behind = pair_of(job)
  local created = pair and tonumber(created_of(job, behind) or '')
  redis.call('ZADD', zset, at, job)
  if not created then return end
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1e6 + time[2]
  end
  local chain, place = chain_of(pair), 1
  while chain[place] and chain[place][1] < created do place = place + 1 end
  table.insert(chain, place, {created, now})
end

-- Into the list of a machine that is there.
local function pass(a, job)
  local index, identity = string.match(a, '^(%d+) (.*)$')
  if (tonumber(redis.call('ZSCORE', KEYS[14], identity) or '') or 0) <= 0 then return false end
  index = tonumber(index)
  put_into(KEYS[index], KEYS[index + 1], (pair_of(job)), job, 0)
  return true
end

-- "KIND AT\nJOB"; a value of unknown form goes on whole.
local function claimed(seq)
  local value = redis.call('HGET', KEYS[1], seq)
  local cut = string.find(value, '\n', 1, true) or 0
  return string.sub(value, cut + 1), string.sub(value, 1, 1), string.sub(value, 2, cut - 1)
end

-- What goes back untried stays under suspicion, but ran alone no longer: whoever dies next must not be taken for its victim.
local function keep_suspicion(jid, back)
  if not back then
    redis.call('HDEL', KEYS[7], jid)
    return
  end
  local mark = tried(redis.pcall('HGET', KEYS[7], jid))
  local text = mark and string.match(mark, '^(.*) alone$')
  if text then redis.pcall('HSET', KEYS[7], jid, text) end
end

local out, counts = {}, {}
for i = 2, #ARGV, 7 do
  local seq, verb, a, b, jid, word = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  if ARGV[i + 6] ~= '' then
    releases = releases + 1
    released[releases], latest[releases] = string.sub(ARGV[i + 6], 1, 16), string.sub(ARGV[i + 6], 18)
  end
  if redis.call('HEXISTS', KEYS[1], seq) == 0 then
    out[#out + 1] = 0
  else
    local answer = 1
    if verb == 'retry' then
      answer = add(KEYS[3], 'r', a, b ~= '' and b or (claimed(seq)), seq)
    elseif verb == 'schedule' then
      answer = add(KEYS[4], 's', a, b ~= '' and b or (claimed(seq)), seq)
    elseif verb == 'dead' then
      redis.call('ZADD', KEYS[5], b, a)
      redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', string.format('%.6f', tonumber(ARGV[1]) - 15552000))
      redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -10000)
    elseif verb == 'return' or verb == 'handoff' or verb == 'pass' then
      local job, kind, at = claimed(seq)
      if verb == 'handoff' then
        local index, name = string.match(a, '^(%d+) (.*)$')
        redis.call('SADD', KEYS[6], name)
        redis.call('LPUSH', KEYS[tonumber(index)], b ~= '' and b or job)
      elseif verb == 'pass' and pass(a, job) then
        answer = 1
      elseif kind == 'r' or kind == 's' then
        due_again(KEYS[kind == 'r' and 3 or 4], at, job)
      else
        take_back(KEYS[kind == 'p' and 9 or 2], job)
      end
    end
    redis.call('HDEL', KEYS[1], seq)
    if jid ~= '' then keep_suspicion(jid, verb == 'return' or verb == 'pass' or word == 'booked') end
    counts[word] = (counts[word] or 0) + 1
    out[#out + 1] = answer
  end
end
keep_all()
if releases > 0 then let_go() end
for word, count in pairs(counts) do redis.pcall('HINCRBY', KEYS[8], word, count) end -- last: it may be wrong, a job may not
out[#out + 1] = tried(redis.pcall('LLEN', KEYS[13])) or 0
nothing_held(KEYS[1], KEYS[13], KEYS[12])
return out
