-- Part of the scripts that name it, behind pair.lua. Books jobs at hosts: who does calls `add` for each, and `keep_all` behind all jobs.
local HOUR_MS, KEEP_S, MAX_BOOKED, MAX_PAIRS, MAX_CHAIN = 3600000, 3 * 86400, 100000, 100000, 32
local reserved, chained -- keys: the clocks of hosts, of a script that books on them; fedpush:pairs
local now -- in microseconds; asked for when something is booked

local function score_of(us) return string.format('%d.%06d', math.floor(us / 1e6), us % 1e6) end

-- What is known of each host that a job of this call is booked at, by its name: read once, and written at the
-- end, after the jobs.
local hosts, chains = {}, {}

local function host_of(index, name)
  local host = hosts[name]
  if not host then
    host = {name = name, booked = KEYS[tonumber(index)], places = {}}
    hosts[name] = host
  end
  return host
end

-- Until when its time is taken, in milliseconds.
local function tail_of(host)
  if not host.tail then
    host.tail = tonumber(string.match(tried(redis.pcall('HGET', reserved, host.name)) or '', '^%d+$')) or 0
  end
  return host.tail
end

-- The jobs of one sender for one inbox that wait, as {when it was created, when it comes}, in the order of both.
local function chain_of(pair)
  local chain = chains[pair]
  if chain then return chain end
  chain = {}
  for _, link in ipairs(chain_read(tried(redis.pcall('HGET', chained, pair)))) do
    if link[2] > now - GRACE_US and link[2] < now + KEEP_S * 1e6 then chain[#chain + 1] = link end
  end
  chains[pair] = chain
  return chain
end

-- It no longer comes when it was to come.
local function take_out(chain, created, at)
  for i = 1, #chain do
    if chain[i][1] == created and math.abs(chain[i][2] - at) < 1 then return table.remove(chain, i) end
  end
end

-- Comes behind what was created before it (when no clock says when: right behind it, so that they come back together and keep their
-- order), and before what was created after it. Returns when, and its place in the chain.
local function in_order(chain, created, at, clocked)
  local place = 1
  while chain[place] and chain[place][1] <= created do place = place + 1 end
  local first, last = place - 1, place -- what comes any moment is passed over
  while chain[first] and chain[first][2] <= now do first = first - 1 end
  while chain[last] and chain[last][2] <= now do last = last + 1 end
  local before, after = chain[first], chain[last]
  if before then at = math.max(clocked and at or 0, before[2] + 1000) end
  if after and at > after[2] - 1000 then at = math.floor(((before and before[2] or after[2] - 2000) + after[2]) / 2) end
  return at, place
end

-- The score of a job, and what to answer: as it says, or on the clock of its host, which all machines share. No two jobs have the
-- same one, so that release.lua finds it by that. `own`: its score until now, when it is in the set already.
local function book(zset, letter, a, seq, own)
  local score, index, share, pair, created, name = string.match(a, '^(%S+) (%d+) (%d+) (%x+) (%d+) (.+)$')
  if not score then return string.match(a, '^%S*'), 1 end -- what else isn't understood costs a booking, never a job
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1e6 + time[2]
  end
  local host = index ~= '0' and host_of(index, name)
  local at, chain, place = math.floor(score * 1e6 + 0.5), nil, nil
  share = tonumber(share)
  if host and share > 0 then
    host.tail = math.max(math.min(tail_of(host), math.floor(now / 1000) + HOUR_MS), math.floor(at / 1000)) + share
    at = host.tail * 1000 + seq % 1000
  end
  if pair ~= '0' then
    chain = chain_of(pair)
    if own then take_out(chain, tonumber(created), math.floor(own * 1e6 + 0.5)) end
    at, place = in_order(chain, tonumber(created), at, share > 0)
  end
  for _ = 1, 100 do
    if redis.call('ZCOUNT', zset, score_of(at), score_of(at)) == 0 then break end
    at = at + 1
  end
  if chain then
    table.insert(chain, place, {tonumber(created), at})
    if #chain > MAX_CHAIN then table.remove(chain, MAX_CHAIN) end -- the newest stays, for what comes behind it
  end
  local text = score_of(at)
  if host then
    host.places[#host.places + 1] = text
    host.places[#host.places + 1] = letter .. text
  end
  return text, math.floor(at / 1000)
end

local function keep_chains()
  local changed, count = {}, tried(redis.pcall('HLEN', chained)) or 0
  if count >= MAX_PAIRS then
    local some = tried(redis.pcall('HSCAN', chained, string.format('%d', now % 1048576), 'COUNT', 200))
    for i = 1, some and #some[2] or 0, 2 do -- what has come back by now
      if (tonumber(string.match(some[2][i + 1], '%d+$')) or 0) <= now then count = count - redis.pcall('HDEL', chained, some[2][i]) end
    end
  end
  for pair, chain in pairs(chains) do
    if count < MAX_PAIRS or tried(redis.pcall('HEXISTS', chained, pair)) == 1 then
      changed[pair] = chain_text(chain)
      count = count + 1
    end
  end
  write_back(chained, changed)
  redis.pcall('EXPIRE', chained, KEEP_S)
end

local function keep(host)
  if host.tail then redis.pcall('HSET', reserved, host.name, string.format('%.0f', host.tail)) end
  redis.pcall('ZREMRANGEBYSCORE', host.booked, '-inf', score_of(now)) -- these have come by themselves
  for i = 1, #host.places, 100 do redis.pcall('ZADD', host.booked, unpack(host.places, i, math.min(i + 99, #host.places))) end
  redis.pcall('ZREMRANGEBYRANK', host.booked, MAX_BOOKED, -1) -- the last ones just aren't called back
  redis.pcall('EXPIRE', host.booked, KEEP_S)
end

local function add(zset, letter, a, job, seq, own)
  local score, answer = book(zset, letter, a, seq, own)
  redis.call('ZADD', zset, score, job)
  return answer
end

local function keep_all()
  for _, host in pairs(hosts) do keep(host) end
  if next(chains) then keep_chains() end
  hosts, chains = {}, {}
end
