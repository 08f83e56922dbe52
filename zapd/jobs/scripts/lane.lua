-- ARGV: lane, then `look` (answers the ms from which it may start the next, 0: now) | `park` ms | `wake`
-- | `spend` and the queue's rate and burst | `limit` rate burst cap and the queue's own rate and burst.
-- In a limit, '' takes the queue's and a rate of 0 is no limit.
local lane, verb = ARGV[1], ARGV[2]
local s = lane_state(lane)
if verb == 'look' then
  local from = math.max(s.next, s.parked)
  return from > now and math.ceil(from) or 0
elseif verb == 'park' then
  s.parked = math.max(s.parked, now + ARGV[3])
elseif verb == 'wake' then
  s.parked = 0
  s.woken = s.flying
elseif verb == 'spend' then
  local rate, burst = s.rate or tonumber(ARGV[3]), math.max(1, s.burst or tonumber(ARGV[4]))
  if rate > 0 then
    s.arrival = now + burst * 60000 / rate
    s.next = now + 60000 / rate
  end
else
  local fields = {rate = ARGV[3], burst = ARGV[4], cap = ARGV[5]}
  for field, value in pairs(fields) do
    s[field] = tonumber(value)
    if value == '' then redis.call('HDEL', P .. 'ls:' .. lane, field)
    else redis.call('HSET', P .. 'ls:' .. lane, field, value) end
  end
  -- What the old limit still held back is cut to what the new one can hold back.
  local rate, burst = s.rate or tonumber(ARGV[6]), math.max(1, s.burst or tonumber(ARGV[7]))
  local interval = rate > 0 and 60000 / rate or 0
  s.arrival = math.min(s.arrival, now + burst * interval)
  s.next = s.arrival - (burst - 1) * interval
end
save_lane(lane, s)
arm(lane, math.max(s.next, s.parked), 'CH')
return 1
