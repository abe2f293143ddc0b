-- An attempt to get in, counted for all machines by the rules of admin/attempts.h. Who got in before is held up by their own wrong ones only.
-- KEYS: attempts, attempts:ADDRESS   ARGV: "begin" or "right"; then in milliseconds, but for numbers of attempts: free ones, the first wait, the
-- longest, until an address is forgotten, the burst of all, the time of each, until who got in is forgotten
-- Answer: 0 to go on, or the milliseconds to wait
redis.call('HDEL', KEYS[2], '') -- a write that maxmemory never refuses lets the next ones pass
local free, first, longest, forgotten = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local burst, each, unknown = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local function keep(wrong, till, known)
  redis.call('HSET', KEYS[2], 'wrong', text(wrong), 'last', text(now), 'until', text(till), 'known', known)
  redis.call('EXPIRE', KEYS[2], text((known == '1' and unknown or forgotten) / 1000))
end

if ARGV[1] == 'right' then
  keep(0, 0, '1')
  return 0
end
local got = redis.call('HMGET', KEYS[2], 'wrong', 'last', 'until', 'known')
-- More than the rules ever ask for comes of a clock that went back, as it may after a fail-over.
local wait = (tonumber(got[3]) or 0) - now
if wait > 0 and wait <= longest then return wait end
if got[4] ~= '1' then
  local spent = (tonumber(redis.call('GET', KEYS[1])) or 0) - now
  if spent < 0 or spent > burst * each then spent = 0 end
  if spent > (burst - 1) * each then return spent - (burst - 1) * each end
  redis.call('SET', KEYS[1], text(now + spent + each), 'PX', text(spent + each))
end
local wrong = (tonumber(got[1]) or 0) + 1
if now - (tonumber(got[2]) or now) > forgotten then wrong = 1 end
local delay = wrong > free and math.min(first * 2 ^ (wrong - free - 1), longest) or 0
keep(wrong, now + delay, got[4] or '')
return 0
