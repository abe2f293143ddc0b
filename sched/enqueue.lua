-- What Sidekiq's poller does with a due entry, atomically: into its queue, then out of the set.
-- KEYS: zset, queues, queue   ARGV: entry as it stands, entry as it is pushed, queue name   Answer: 1, or 0 when it was gone
redis.call('ZREM', KEYS[1], '')
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('LPUSH', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
