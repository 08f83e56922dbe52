-- flags: allow-oom
-- ARGV: 1 to pause, 0 to resume; then nothing for the whole queue, or `kind` and a kind, or `lane` and a lane.
local pauses, what, name = ARGV[1] == '1', ARGV[2], ARGV[3]
if what == 'kind' then
  if pauses then redis.call('HSET', P .. 'pk', name, 'p')
  elseif redis.call('HEXISTS', P .. 'pk', name) == 1 then redis.call('HSET', P .. 'pk', name, 'r') end
  redis.call('HSET', P .. 'meta', 'kinds', redis.call('HLEN', P .. 'pk'))
elseif what == 'lane' then
  local key = P .. 'ls:' .. name
  if pauses then
    redis.call('SADD', P .. 'pz', name)
    redis.call('HSET', key, 'z', 1)
    redis.call('PERSIST', key)
  elseif redis.call('SREM', P .. 'pz', name) == 1 then
    redis.call('HDEL', key, 'z')
    local s = lane_state(name)
    save_lane(name, s)
    arm(name, math.max(s.next, s.parked), 'NX')
  end
elseif pauses then redis.call('HSET', P .. 'meta', 'paused', 1)
else redis.call('HDEL', P .. 'meta', 'paused') end
return 1
