-- Returns a condemned owner's jobs to where they came from; the caller sends claims from the highest seq down, so that the oldest is
-- served first. What is in its list came last, so it goes back before any claim; and again when others have put it there again, since
-- it belongs behind claims that are still here (claim.lua).
-- KEYS: identities, claimed:ID, wait:ID, queue, retry, schedule, dead, recoveries, ledger:ID, ledger, queue:pull, held:ID
-- ARGV: identity, now, most of the list in this call, then for each claim: seq, jid ("" when unknown), bytes for the dead set ("" to return it)
-- Answer: "ALIVE", or {returned, put into dead, claims left}
redis.call('HDEL', KEYS[2], '')
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) > 0 then return 'ALIVE' end
local returned, dead, waiting = 0, 0, 0
for _ = 1, tonumber(ARGV[3]) do
  local job = redis.call('LINDEX', KEYS[3], 0)
  if not job then break end
  redis.call('RPUSH', KEYS[4], job)
  redis.call('LPOP', KEYS[3])
  returned = returned + 1
  waiting = waiting + 1 -- never claimed, so not in the ledger
end
if redis.call('LLEN', KEYS[3]) == 0 then
  for i = 4, #ARGV, 3 do
    local seq, jid, bytes = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local value = redis.call('HGET', KEYS[2], seq)
    if value then
      local cut = string.find(value, '\n', 1, true) or 0 -- a value of unknown form goes to the queue whole
      local kind, at, job = string.sub(value, 1, 1), string.sub(value, 2, cut - 1), string.sub(value, cut + 1)
      if bytes ~= '' then
        redis.call('ZADD', KEYS[7], ARGV[2], bytes)
        if jid ~= '' then redis.call('HDEL', KEYS[8], jid) end
        dead = dead + 1
      else
        if jid ~= '' then
          local count = tonumber(string.match(redis.call('HGET', KEYS[8], jid) or '0', '^%d+')) + 1
          redis.call('HSET', KEYS[8], jid, count .. ' ' .. string.match(ARGV[2], '^%d+'))
        end
        if kind == 'r' then
          redis.call('ZADD', KEYS[5], at, job)
        elseif kind == 's' then
          redis.call('ZADD', KEYS[6], at, job)
        else
          redis.call('RPUSH', KEYS[kind == 'p' and 11 or 4], job)
        end
        returned = returned + 1
      end
      redis.call('HDEL', KEYS[2], seq)
    end
  end
end
if redis.call('EXISTS', KEYS[9]) == 1 then -- an owner without a ledger didn't count its claims, either
  if returned > waiting then redis.pcall('HINCRBY', KEYS[9], 'recovered', returned - waiting) end
  if dead > 0 then redis.pcall('HINCRBY', KEYS[9], 'dead', dead) end
end
local left = redis.call('HLEN', KEYS[2]) - redis.call('HEXISTS', KEYS[2], 'seq') + redis.call('LLEN', KEYS[3])
if left == 0 then
  local counts = redis.pcall('HGETALL', KEYS[9]) -- what is left of an identity is in the total
  for i = 1, #counts, 2 do redis.pcall('HINCRBY', KEYS[10], counts[i], counts[i + 1]) end
  redis.call('DEL', KEYS[9])
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[12])
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return {returned, dead, left}
