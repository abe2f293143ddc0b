-- With pair.lua.
-- With booking.lua.
-- Claims due native deliveries straight from `retry` or `schedule`. Ruby's JSON has no spaces, and quotes inside a string are
-- escaped: these substrings are a filter that passes every plain delivery; what passes is parsed strictly afterwards. Entries
-- with a lock_digest are Ruby's; those of a pair that another machine has in its hands are left to that one. Behind as many of these
-- as are looked at at once, a window goes on with each turn, so that they hide nothing for ever where nobody takes them.
-- What comes next is named to the caller, who says in the next call which of that would only be parked again, since its host's
-- circuit is open: such an entry is never claimed, but scored anew where it stands, so that it is always there once.
-- KEYS: identities, claimed:ID, zset, recoveries, ledger:ID, held:ID, pairs, retry, schedule, then of each other machine held:ID,
--   then booked:HOST of each entry that stays
-- ARGV: identity, now, max jobs, max bytes, entries to look at, "r" or "s", turn, entries of the window; when entries are to be named:
--   at most so many, those that are due until when, and for each entry that stays: "SCORE BYTES", its own, and where it goes, as in
--   settle.lua: "SCORE INDEX 0 PAIR CREATED_US HOST"
-- Answer: "FENCED", or {jobs under suspicion, seq, score, bytes, what is booked of its pair, ...}; when entries are to be named, behind
--   that {which of those said to stay does (1: the first), the milliseconds at which it comes, ...}, and {score, bytes, job without its
--   body, ...}
redis.call('HDEL', KEYS[2], '')
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or tonumber(score) <= 0 then return 'FENCED' end
local OTHERS_KEYS, PASSED, STAYING, MOST_NAMED_BYTES = 10, 64, 11, 4096
local AT_ONCE, AT_ONCE_BYTES, LOOK_BYTES = 64, 131072, 2097152
local max_jobs, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local look, turn, window = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local most_named, staying = tonumber(ARGV[9]) or 0, math.max(#ARGV - STAYING + 1, 0) / 2
local out, jobs, bytes, stays, stayed = {redis.call('HLEN', KEYS[4])}, 0, 0, {}, {}
chained = KEYS[7]
for i = 1, staying do stays[ARGV[STAYING + 2 * i - 2]] = {i, ARGV[STAYING + 2 * i - 1]} end

local function taken() return jobs + #stayed / 2 end
local function is_full() return taken() >= max_jobs or bytes >= max_bytes end

local function is_native(job)
  return (string.find(job, '"class":"ActivityPub::DeliveryWorker"', 1, true)
      or string.find(job, '"class":"ActivityPub::LowPriorityDeliveryWorker"', 1, true))
      and not string.find(job, '"lock_digest"', 1, true)
end

-- Of the pairs of these jobs, those that others have.
local function owned_of(pairs_of, count)
  local owned = {}
  for i = OTHERS_KEYS, #KEYS - staying do
    for pair, text in pairs(look_up(KEYS[i], pairs_of, count)) do owned[pair] = owned[pair] or text end
  end
  return owned
end

-- Whether it does. Should another one look the same, that is claimed.
local function stay(job, at)
  local which = at .. ' ' .. #job
  local known = stays[which]
  if not known then return false end
  stays[which] = nil
  stayed[#stayed + 1], stayed[#stayed + 2] = known[1], add(KEYS[3], ARGV[6], known[2], job, 0, at)
  return true
end

-- As many as are of the size of the last one and fit in a step; large ones fill a look before all are seen.
local function look_at(from, count, last)
  local seen, seen_bytes, step = {}, 0, 1
  while #seen / 2 < count and seen_bytes < LOOK_BYTES do
    local most = math.min(step, count - #seen / 2)
    local part = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', last, 'WITHSCORES', 'LIMIT', from + #seen / 2, most)
    for i = 1, #part, 2 do
      seen[#seen + 1], seen[#seen + 2], seen_bytes = part[i], part[i + 1], seen_bytes + #part[i]
    end
    if #part / 2 < most then break end
    step = math.max(1, math.min(AT_ONCE, math.floor(AT_ONCE_BYTES / #part[#part - 1])))
  end
  return seen, seen_bytes >= LOOK_BYTES
end

local function take(from, count)
  local due, cut = look_at(from, count, ARGV[2])
  local found, pairs_of, behind = {}, {}, {}
  for i = 1, #due, 2 do
    if is_full() or #found == max_jobs - taken() + PASSED then break end
    if is_native(due[i]) and not stay(due[i], due[i + 1]) then
      local n = #found + 1
      found[n] = i
      pairs_of[n], behind[n] = pair_of(due[i])
    end
  end
  keep_all() -- before the same pairs are read again
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
  return #due / 2, cut
end

-- Inside a string JSON has no bare quote, so that the first one behind a brace ends the body.
local function without_body(job)
  local _, from = string.find(job, '"args":["', 1, true)
  local brace = from and string.find(job, '}",', from + 1, true)
  return brace and from + #job - brace <= MOST_NAMED_BYTES and string.sub(job, 1, from) .. string.sub(job, brace + 1)
end

local function name_next(from)
  local named = {}
  local next = look_at(from, most_named, ARGV[10])
  for i = 1, #next, 2 do
    local rest = is_native(next[i]) and without_body(next[i])
    if rest then named[#named + 1], named[#named + 2], named[#named + 3] = next[i + 1], #next[i], rest end
  end
  return named
end

local found, cut = take(0, look)
if (found == look or cut) and not is_full() then
  local left = found - taken()
  local behind = redis.call('ZCOUNT', KEYS[3], '-inf', ARGV[2]) - left
  if behind > 0 then take(left + turn * (cut and 1 or window) % behind, window) end
end
if jobs > 0 then redis.pcall('HINCRBY', KEYS[5], 'claimed', jobs) end
if most_named > 0 then
  out[#out + 1] = stayed
  out[#out + 1] = name_next(is_full() and 0 or math.max(found - taken(), 0)) -- behind those that are Ruby's
end
return out
