-- flags: allow-oom
-- ARGV: consumer, ms that the heartbeat holds. Answers the claims that somebody wants ended: id, claim, …
redis.call('ZADD', P .. 'hb', now + ARGV[2], ARGV[1])
return redis.call('HGETALL', P .. 'cx')
