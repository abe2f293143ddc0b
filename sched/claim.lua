-- With pair.lua.
-- Claims jobs: what waits in this machine's list first (BLMOVE left it there, or others whose jobs it continues), then from the
-- queue's consuming end. Some at a time: into the claims, then out of the list, so that stopping anywhere duplicates and never loses.
-- Of a pair that another machine has in its hands the next job goes into that machine's list, and so does a pair behind it.
-- What two machines seem to have at once (Redis may have lost an end) comes from list to list a few times, and is claimed then.
-- KEYS: identities, claimed:ID, wait:ID, queue, recoveries, ledger:ID, held:ID, pairs, retry, schedule, then of each other machine
--   wait:ID, held:ID
-- ARGV: identity, max jobs, max bytes, the queue's letter: "q" (push), or "p" (pull, where nobody waits with BLMOVE and nothing has
--   an order), then the other machines' identities
-- Answer: "FENCED"; {"FLEET", identity, ...}: these are the machines now, call again; or {jobs under suspicion, seq, bytes, what is
--   booked of its pair, ...}
redis.call('HDEL', KEYS[2], '') -- a write that maxmemory never refuses lets the next ones pass
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) <= 0 then return 'FENCED' end
local OTHERS_KEYS, OTHERS_ARGV, MOST_MACHINES, AT_ONCE, AT_ONCE_BYTES, MOST_PASSES = 11, 5, 17, 32, 65536, 3
local max_jobs, max_bytes, ordered = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == 'q'
local out, jobs, bytes, moved = {redis.call('HLEN', KEYS[5])}, 0, 0, 0
local others = #ARGV - OTHERS_ARGV + 1

-- Larger fleets than that have no order between machines: each would be asked.
if ordered and redis.call('ZCARD', KEYS[1]) <= MOST_MACHINES then
  local machines, known = redis.call('ZRANGE', KEYS[1], 0, -1), {[ARGV[1]] = true}
  for i = OTHERS_ARGV, #ARGV do known[ARGV[i]] = true end
  local same = #machines == others + 1
  for _, machine in ipairs(machines) do same = same and known[machine] end
  if not same then return {'FLEET', unpack(machines)} end
else
  others = 0
end

-- What BLMOVE gave to others a moment ago stands in no hash yet: by pair, the index of that machine's first key.
local taken = {}
for i = 0, others - 1 do
  local key = OTHERS_KEYS + i * 2
  for _, job in ipairs(tried(redis.pcall('LRANGE', KEYS[key], 0, 1)) or {}) do
    local pair = pair_of(job)
    if pair then taken[pair] = key end
  end
end

-- As many from the end as are of the size of its last one and fit in a step.
local function step_of(key)
  local last = redis.call('LINDEX', key, -1)
  if not last then return {} end
  local count = math.min(AT_ONCE, math.floor(AT_ONCE_BYTES / #last), max_jobs - jobs - moved)
  return count > 1 and redis.call('LRANGE', key, -count, -1) or {last}
end

local function owners_of(pairs_of, count)
  local owners = {}
  for i = 1, count do
    if pairs_of[i] then owners[pairs_of[i]] = taken[pairs_of[i]] end
  end
  for i = 0, others - 1 do
    local key = OTHERS_KEYS + i * 2
    for pair, text in pairs(look_up(KEYS[key + 1], pairs_of, count)) do
      if text then owners[pair] = key end
    end
  end
  return owners
end

-- To the machine that has older ones.
local function move(key, pair, job, passes)
  put_into(KEYS[key], KEYS[key + 1], pair, job, passes)
  moved = moved + 1
end

local function take(found, count, waited)
  local pairs_of, behind = {}, {}
  for i = 1, ordered and count or 0 do pairs_of[i], behind[i] = pair_of(found[#found - i + 1]) end
  local owners = others > 0 and owners_of(pairs_of, count) or {}
  local held = waited and look_up(KEYS[7], pairs_of, count) or {}
  local chains, unbooked, hands = look_up(KEYS[8], pairs_of, count), {}, {}
  local stays = {}
  for i = 1, count do
    local pair = pairs_of[i]
    local mine, waiting, passes = held_of(held[pair])
    local owner = passes < MOST_PASSES and owners[pair]
    if owner then move(owner, pair, found[#found - i + 1], waited and passes + 1 or 0) else stays[#stays + 1] = i end
    if owner and held[pair] then -- it waits here no longer, and must not be sent back
      hands[pair] = held_text(mine, math.max(waiting - 1, 0), passes)
      held[pair] = hands[pair]
    end
  end
  local seq, values, n = redis.call('HINCRBY', KEYS[2], 'seq', #stays) - #stays, {}, #out
  for k, i in ipairs(stays) do
    local pair, job, field = pairs_of[i], found[#found - i + 1], string.format('%.0f', seq + k)
    values[2 * k - 1], values[2 * k] = field, ARGV[4] .. '\n' .. job
    out[n + 1], out[n + 2], out[n + 3] = field, job, came_back(chains, unbooked, pair, job, behind[i], KEYS[9], KEYS[10])
    n = n + 3
    if pair then
      local _, waiting = held_of(held[pair])
      hands[pair] = waiting > 1 and held_text(seq + k, waiting - 1) or field
      held[pair] = waited and hands[pair]
    end
  end
  if #stays > 0 then redis.call('HSET', KEYS[2], unpack(values)) end
  write_back(KEYS[7], hands)
  write_back(KEYS[8], unbooked)
  jobs = jobs + #stays
end

for k = ordered and 3 or 4, 4 do
  while jobs + moved < max_jobs and bytes < max_bytes do
    local found, count = step_of(KEYS[k]), 0
    while count < #found and bytes < max_bytes do
      bytes, count = bytes + #found[#found - count], count + 1
    end
    if count == 0 then break end
    take(found, count, k == 3)
    redis.call('LTRIM', KEYS[k], 0, -count - 1)
  end
end
if jobs > 0 then redis.pcall('HINCRBY', KEYS[6], 'claimed', jobs) end -- last: it may be wrong, a job may not
return out
