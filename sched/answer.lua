-- What a machine answers to an admin's question (questions.h).
-- KEYS: answers:QUESTION, or said:HOST   ARGV: the machine's identity, its words, how many seconds they stand
redis.call('HDEL', KEYS[1], ARGV[1]) -- a write that maxmemory never refuses lets the next ones pass
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
