-- Part of the scripts that name it. Jobs of one sender for one inbox have an order: which ones are, and what is kept of it.
-- Nothing here may fail a script: it may be wrong, a job may not.
local GRACE_US = 10000000 -- for so long past its time a booked job is awaited (AWAY_GRACE_MS)

local function tried(reply) return not (type(reply) == 'table' and reply.err) and reply or nil end

-- Sixteen hexadecimal digits, and where in the job what follows its inbox begins; nil: it comes in any order. Sidekiq's JSON has no
-- spaces, and in a string no quote stands unescaped: the first `}",` behind the payload's begin is its end. sched/pair.c does the same.
local function pair_of(job)
  local from = string.find(job, '"args":["', 1, true)
  local close = from and string.find(job, '}",', from, true)
  if not close then return nil end
  local account, inbox, behind = string.match(job, '^(%d+),"([^"]+)"()', close + 3)
  return account and string.sub(redis.sha1hex(account .. ' ' .. inbox), 1, 16), behind
end

-- Of several pairs, which may be nil or there twice: what a hash has for each. At most a hundred fields a command.
local function look_up(key, pairs_of, count)
  local fields, found = {}, {}
  for i = 1, count do
    if pairs_of[i] and found[pairs_of[i]] == nil then
      found[pairs_of[i]] = false
      fields[#fields + 1] = pairs_of[i]
    end
  end
  for from = 1, #fields, 100 do
    local upto = math.min(from + 99, #fields)
    local values = tried(redis.pcall('HMGET', key, unpack(fields, from, upto))) or {}
    for i = from, upto do found[fields[i]] = values[i - from + 1] or false end
  end
  return found
end

-- What has changed of it: false removes a field.
local function write_back(key, changed)
  local set, gone = {}, {}
  for field, value in pairs(changed) do
    if value then
      set[#set + 1] = field
      set[#set + 1] = value
    else
      gone[#gone + 1] = field
    end
  end
  for i = 1, #set, 100 do redis.pcall('HSET', key, unpack(set, i, math.min(i + 99, #set))) end
  for i = 1, #gone, 100 do redis.pcall('HDEL', key, unpack(gone, i, math.min(i + 99, #gone))) end
end

-- fedpush:held:ID: "SEQ" of the latest claim that the machine has in its hands (0: none), how many more wait in its list, and how often
-- these came from list to list.
local function held_of(text)
  if not text then return 0, 0, 0 end
  local seq, waiting, passes = string.match(text, '^(%d+) (%d+) ?(%d*)$')
  return tonumber(seq or string.match(text, '^%d+$')) or 0, tonumber(waiting) or 0, tonumber(passes) or 0
end

local function held_text(seq, waiting, passes)
  if waiting > 0 and (passes or 0) > 0 then return string.format('%.0f %.0f %.0f', seq, waiting, passes) end
  if waiting > 0 then return string.format('%.0f %.0f', seq, waiting) end
  return seq > 0 and string.format('%.0f', seq) or false
end

-- Who has nothing in its hands and nothing in its list has no pair, whatever Redis may have lost of their ends.
local function nothing_held(claimed, wait, held)
  if redis.call('HLEN', claimed) > redis.call('HEXISTS', claimed, 'seq') or (tried(redis.pcall('LLEN', wait)) or 1) > 0 then return end
  redis.pcall('DEL', held)
end

-- Into the list of a machine, which knows of its pair then; and of those of what BLMOVE left there a moment ago, which nobody sees any
-- more behind this one. `passes`: how often it came from list to list.
local function put_into(wait, held, pair, job, passes)
  for _, left in ipairs(tried(redis.pcall('LRANGE', wait, 0, 1)) or {}) do
    local other = pair_of(left)
    if other and not tried(redis.pcall('HGET', held, other)) then write_back(held, {[other] = held_text(0, 1)}) end
  end
  if pair then
    local seq, waiting, before = held_of(tried(redis.pcall('HGET', held, pair)))
    write_back(held, {[pair] = held_text(seq, waiting + 1, math.max(before, passes))})
  end
  redis.call('LPUSH', wait, job)
end

-- fedpush:pairs: "CREATED AT ..." of the booked jobs of a pair, in microseconds, in the order of both.
local function chain_read(text)
  local chain = {}
  for created, at in string.gmatch(text or '', '(%d+) (%d+)') do chain[#chain + 1] = {tonumber(created), tonumber(at)} end
  return chain
end

local function chain_text(chain)
  local texts = {}
  for i = 1, #chain do texts[i] = string.format('%.0f %.0f', chain[i][1], chain[i][2]) end
  return #texts > 0 and table.concat(texts, ' ')
end

-- When a job was made, as pairs have it; nil: it doesn't say. `behind` as of pair_of.
local function created_of(job, behind)
  local created = tonumber(string.match(job, '"created_at":([%d.]+)', behind) or '')
  if created and created > 1e11 then created = created / 1000 end
  if not created or created > 1e11 then return nil end -- as time_of in sched/job.c
  return string.format('%.0f', created * 1e6)
end

-- Whether a booked job still waits for its time: somebody may have deleted it. One whose time has come may be on its way.
local now_us
local function is_booked(link, retry, schedule)
  if not now_us then
    local time = redis.call('TIME')
    now_us = time[1] * 1e6 + time[2]
  end
  if link[2] <= now_us then return link[2] > now_us - GRACE_US end
  local score = string.format('%d.%06d', math.floor(link[2] / 1e6), link[2] % 1e6)
  return (tried(redis.pcall('ZCOUNT', schedule, score, score)) or 1) + (tried(redis.pcall('ZCOUNT', retry, score, score)) or 1) > 0
end

-- What is booked of the pairs of some jobs. `chains`: as look_up has it of fedpush:pairs; of it, and into `changed`, goes what says of
-- a job that it is booked, which is no longer: this one, or one that is gone. Returns what is left of its pair, as text. Who comes last
-- of those that were made before this one is what it waits for; whether the others are still there is looked at when that one is not.
local function came_back(chains, changed, pair, job, behind, retry, schedule)
  if not pair or not chains[pair] then return '' end
  local own, chain, gone, found = tonumber(created_of(job, behind) or ''), chain_read(chains[pair]), false, false
  for i = #chain, 1, -1 do
    local link = chain[i]
    local older = not own or link[1] < own
    if link[1] == own or (older and not found and not is_booked(link, retry, schedule)) then
      table.remove(chain, i)
      gone = true
    else
      found = found or older
    end
  end
  if gone then
    chains[pair] = chain_text(chain)
    changed[pair] = chains[pair]
  end
  return chains[pair] or ''
end

-- A booked job comes at another time than its score said.
local function moved_to(key, job, score, at_us)
  local pair = pair_of(job)
  local text = pair and tried(redis.pcall('HGET', key, pair))
  if not text then return end
  local chain = chain_read(text)
  for _, link in ipairs(chain) do
    if math.abs(link[2] - tonumber(score) * 1e6) < 1 then link[2] = at_us end
  end
  redis.pcall('HSET', key, pair, chain_text(chain))
end
