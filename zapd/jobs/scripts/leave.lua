-- flags: allow-oom
-- ARGV: consumer. One that still holds jobs is kept, with a heartbeat that is past: the next reclaim takes them.
local me = ARGV[1] .. '|'
for _, claim in ipairs(redis.call('HVALS', P .. 'a')) do
  if string.sub(claim, 1, #me) == me then return redis.call('ZADD', P .. 'hb', 0, ARGV[1]) + 1 end
end
redis.call('ZREM', P .. 'hb', ARGV[1])
redis.call('HDEL', P .. 'op', ARGV[1], ARGV[1] .. ' claim')
return 0
