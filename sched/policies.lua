-- What a machine looks at each second. Only reads.
-- KEYS: policies, audit, identities   ARGV: the version that is known
-- Answer: now, machines that are alive, entries of the audit that wait for PostgreSQL, version, and when that is another: all fields
-- and values
local version = redis.call('HGET', KEYS[1], ':version') or '0'
local now = redis.call('TIME')[1]
local alive = #redis.call('ZRANGEBYSCORE', KEYS[3], string.format('%d', tonumber(now) - 60), '+inf')
local out = {now, alive, redis.call('HLEN', KEYS[2]), version}
if version ~= ARGV[1] then
  for _, text in ipairs(redis.call('HGETALL', KEYS[1])) do out[#out + 1] = text end
end
return out
