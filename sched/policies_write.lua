-- An order of the admin's: all names, or none when one isn't what the admin saw. A version is Redis' time in microseconds, so that
-- it grows although the last one was lost.
-- KEYS: policies, audit   ARGV: the audit's id and words (who, action, name, detail; a line each), then name, value seen ("" for none),
-- new text, ...   Answer: 1, or 0 when somebody else was faster
redis.call('HDEL', KEYS[1], '') -- a write that maxmemory never refuses lets the next ones pass
for i = 3, #ARGV, 3 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') ~= ARGV[i + 1] then return 0 end
end
local time = redis.call('TIME')
local version, last = time[1] * 1000000 + time[2], tonumber(redis.call('HGET', KEYS[1], ':version') or '0')
local text = string.format('%.0f', math.max(version, last + 1))
for i = 3, #ARGV, 3 do redis.call('HSET', KEYS[1], ARGV[i], text .. ' ' .. ARGV[i + 2]) end
if #ARGV > 2 then redis.call('HSET', KEYS[1], ':version', text) end
redis.call('HSET', KEYS[2], ARGV[1], text .. '\n' .. ARGV[2])
return 1
