-- flags: allow-oom
-- ARGV: consumer, ms that the heartbeat holds. Answers the claims that somebody wants ended: id, claim, …
local lives = now + ARGV[2]
local back, ahead = clock_jump(ARGV[2])

local shifted = {} -- by lane: from when it may go on
local function shift(lane) -- its times are those of the old clock
  if shifted[lane] then return shifted[lane] end
  local s = lane_state(lane)
  s.arrival, s.next, s.parked = math.max(0, s.arrival - back), math.max(0, s.next - back), math.max(0, s.parked - back)
  save_lane(lane, s)
  shifted[lane] = math.max(s.next, s.parked)
  return shifted[lane]
end

if back > 0 then -- what waits for a time of the old clock would wait as long as it went back
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'hb', '(' .. lives, '+inf')) do
    redis.call('ZADD', P .. 'hb', lives, name)
  end
  for _, id in ipairs(redis.call('HKEYS', P .. 'a')) do
    local job = parse(redis.call('HGET', jobs, id) or '')
    if job and job.lane ~= '' then shift(job.lane) end
  end
  for _, level in ipairs(levels()) do
    for _, lane in ipairs(redis.call('ZRANGEBYSCORE', P .. 'e:' .. level, '(' .. now, '+inf')) do
      redis.call('ZADD', P .. 'e:' .. level, math.max(soon(), shift(lane)), lane)
    end
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'tw:' .. level, '(' .. now, '+inf')) do
      redis.call('ZADD', P .. 'tw:' .. level, soon(), name)
    end
  end
end
if back > 0 or ahead then redis.call('SET', P .. 'doubt', whole(lives), 'PX', ARGV[2]) end
redis.call('SET', P .. 'seen', whole(now), 'PX', 604800000)
redis.call('ZADD', P .. 'hb', lives, ARGV[1])
return redis.call('HGETALL', P .. 'cx')
