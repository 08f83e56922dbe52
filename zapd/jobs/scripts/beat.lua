-- flags: allow-oom
-- ARGV: consumer, ms that this heartbeat holds.
return redis.call('ZADD', P .. 'hb', now + ARGV[2], ARGV[1])
