-- flags: allow-oom
-- A dead job goes. ARGV: id. Answers 1 when it was dead.
local id = ARGV[1]
redis.call('ZREM', P .. 'x', id)
return redis.call('HDEL', P .. 'xj', id)
