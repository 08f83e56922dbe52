-- flags: allow-oom
-- ARGV: 1 to pause, 0 to resume.
if ARGV[1] == '1' then return redis.call('HSET', P .. 'meta', 'paused', 1) end
return redis.call('HDEL', P .. 'meta', 'paused')
