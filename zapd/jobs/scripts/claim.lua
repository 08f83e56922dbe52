-- flags: allow-oom
-- ARGV: consumer, number of this claim, most jobs, ms a heartbeat holds, default lane rate per minute (0: none),
-- burst, cap, the whole queue's rate and burst.
-- Answers {more, ms until something is due or -1, {stream, entry, id, blob, …}}.
local me, number, free = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local more = false
local streams, entries, ids = {}, {}, {}
local heads = {} -- ids that left their lane in this call

local function promote() -- due jobs to where they wait; bounded, because a script blocks every client
  local due = redis.call('ZRANGEBYSCORE', P .. 'd', '-inf', now, 'LIMIT', 0, 200)
  more = #due == 200
  local back = {}
  for _, id in ipairs(due) do
    local blob = redis.call('HGET', jobs, id)
    local job = blob and (parse(blob) or {priority = '1', lane = ''})
    if job and job.back == '1' and job.lane ~= '' then back[#back + 1] = {job, id}
    elseif job then place(job.priority, job.lane, id) end
    redis.call('ZREM', P .. 'd', id)
  end
  for i = #back, 1, -1 do stage(back[i][1].priority, back[i][1].lane, back[i][2], true) end
end

local function read(stream, count)
  local command = {'XREADGROUP', 'GROUP', 'w', me, 'COUNT', count, 'STREAMS', P .. stream, '>'}
  local answer = redis.pcall(unpack(command))
  if answer and answer.err then -- somebody destroyed the group
    make_groups(string.sub(stream, 3))
    answer = redis.call(unpack(command))
  end
  for _, entry in ipairs(answer and answer[1][2] or {}) do
    streams[#streams + 1], entries[#entries + 1], ids[#ids + 1] = stream, entry[1], entry[2][2]
  end
end

local function pop(level, lane) -- the head that was not canceled
  while true do
    local id = redis.call('LPOP', P .. 'l:' .. level .. ':' .. lane)
    if not id or redis.call('HEXISTS', jobs, id) == 1 then return id end
  end
end

local function start(lane, s) -- GCRA: one job of the lane leaves now
  local rate, burst = s.rate or tonumber(ARGV[5]), s.burst or tonumber(ARGV[6])
  s.flying = s.flying + 1
  if rate > 0 then
    local interval = 60000 / rate
    s.arrival = math.max(s.arrival, now) + interval
    s.next = s.arrival - (math.max(1, burst) - 1) * interval
  end
  save_lane(lane, s)
end

local function take_head(level, lane) -- true when a job left
  local eligible, s = P .. 'e:' .. level, lane_state(lane)
  local from, cap = math.max(s.next, s.parked), s.cap or tonumber(ARGV[7])
  if s.flying < cap and from > now then
    redis.call('ZADD', eligible, from, lane)
    return false
  end
  local id = s.flying < cap and pop(level, lane)
  if not id then
    redis.call('ZREM', eligible, lane)
    return false
  end
  start(lane, s)
  heads[id] = true
  make_ready(level, id, true)
  if s.flying < cap then redis.call('ZADD', eligible, math.max(s.next, soon()), lane)
  else redis.call('ZREM', eligible, lane) end
  return true
end

-- In rounds over the lanes, one job of each per round. `b` was read empty before, so what is added here is what is read.
local function read_lanes(level, count)
  local taken, tries = 0, 0
  repeat
    local last = now + turns * 0.00025 -- lanes that this call armed again are in too
    local lanes = redis.call('ZRANGEBYSCORE', P .. 'e:' .. level, '-inf', last, 'LIMIT', 0, count - taken)
    for _, lane in ipairs(lanes) do
      if take_head(level, lane) then taken = taken + 1 end
    end
    tries = tries + #lanes
  until #lanes == 0 or taken == count or tries >= count * 4
  if taken > 0 then read('b:' .. level, taken) end
  more = more or tries >= count * 4
end

local function read_level(level)
  local lanes_first = number % 2 == 0 -- neither lanes nor free jobs of one level starve the other
  read('b:' .. level, free - #ids)
  if lanes_first and #ids < free then read_lanes(level, free - #ids) end
  if #ids < free then read('r:' .. level, free - #ids) end
  if not lanes_first and #ids < free then read_lanes(level, free - #ids) end
end

-- What runs from now on. The entry of a canceled job is thrown away, also when its id came back meanwhile and now runs,
-- is delayed, or waits in a lane.
local function hold()
  local blobs, held = redis.call('HMGET', jobs, unpack(ids)), redis.call('HMGET', P .. 'a', unpack(ids))
  local delayed = redis.call('ZMSCORE', P .. 'd', unpack(ids))
  local claimed, holds = {}, {}
  for i, id in ipairs(ids) do
    local waits = blobs[i] and not held[i] and not delayed[i] and not holds[id]
    if waits and (heads[id] or (lane_of(blobs[i]) or '') == '') then
      holds[id] = true
      holds[#holds + 1] = id
      holds[#holds + 1] = me .. '|' .. streams[i] .. '|' .. entries[i]
      local n = #claimed
      claimed[n + 1], claimed[n + 2], claimed[n + 3], claimed[n + 4] = streams[i], entries[i], id, blobs[i]
    else
      redis.call('XACK', P .. streams[i], 'w', entries[i])
      redis.call('XDEL', P .. streams[i], entries[i])
    end
  end
  if #holds > 0 then
    redis.call('HSET', P .. 'a', unpack(holds))
    redis.call('ZADD', P .. 'hb', now + ARGV[4], me)
  end
  return claimed
end

local function next_in() -- ms until a delayed job or a lane is due
  local first
  local function look(key)
    local score = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
    if score and (not first or score < first) then first = score end
  end
  look(P .. 'd')
  for _, level in ipairs(levels()) do look(P .. 'e:' .. level) end
  return first and math.max(0, math.ceil(first - now)) or -1
end

local queue_rate, queue_burst = tonumber(ARGV[8]), math.max(1, tonumber(ARGV[9]))
local arrival = math.max(now, queue_rate > 0 and tonumber(redis.call('HGET', P .. 'meta', 'arrival')) or 0)

local function room() -- GCRA: how many may start now, and ms until the next one may
  local interval = 60000 / queue_rate
  local early = now + queue_burst * interval - arrival
  return math.floor(early / interval + 1e-6), math.ceil(interval - early)
end

promote()
local void = tonumber(redis.call('HGET', P .. 'op', me .. ' claim')) or 0
if number <= void or redis.call('HEXISTS', P .. 'meta', 'paused') == 1 then return {0, -1, {}} end
if queue_rate > 0 then
  local allowed, wait = room()
  if allowed < 1 then return {0, wait, {}} end
  free = math.min(free, allowed)
end
for _, level in ipairs(levels()) do
  if #ids < free then read_level(level) end
end
more = more or #ids >= free
local claimed = #ids > 0 and hold() or {}
if queue_rate > 0 then redis.call('HSET', P .. 'meta', 'arrival', arrival + #claimed / 4 * 60000 / queue_rate) end
return {more and 1 or 0, more and 0 or next_in(), claimed}
