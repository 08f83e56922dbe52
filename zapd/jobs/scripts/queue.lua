-- Loaded in front of every script: the key map of a queue and the moves that the scripts share.
--
-- KEYS[1] is `<prefix>jobs`; every other key of the queue has the same prefix, and with it the same hash tag.
--   jobs          HASH   id -> blob: "1|attempt|crashes|priority|created|due|back|kind|lane|tenant\n" + payload.
--                        Also the index of unique ids: an id is live while it has a field here.
--   lv            ZSET   the priority levels in use (each has its two streams and their group `w`)
--   r:<p> b:<p>   STREAM ready jobs of level p, field `i` = id. `b` is read first: handed back, reclaimed, lane heads
--   a             HASH   id -> "consumer|stream|entry" of the claim that runs now. This is the fence
--   d             ZSET   id -> due ms
--   l:<p>:<lane>  LIST   ids staged in a lane, head first
--   e:<p>         ZSET   lane -> ms from which its head may leave (fractions keep the turn). Lanes at their cap are absent
--   ls:<lane>     HASH   f in flight, w of those claimed before a wake, t theoretical arrival time, n next start, k parked
--                        until, rate/burst/cap overrides
--   hb            ZSET   consumer -> ms until which it counts as alive
--   op            HASH   consumer -> its last finish and the answer; "consumer claim" -> claims up to this number are void
--   x, xj         ZSET   dead id -> ms; HASH id -> "reason\nerror\n" + blob
--   done          LIST   the newest completed: "ms|attempt|id"
--   stat, meta    HASH   counters; `paused`; `arrival` of the queue's rate; `whole`: goes when Redis loses its data
--
-- Times come from this server only, so that no daemon's clock matters. `now` has fractions: 1 ms = 1.0.

local P = string.sub(KEYS[1], 1, -5)
local jobs = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000

local turns = 0
local function soon() -- later than all that asked before, so that equal lanes take turns; 0.00025 is a double's step
  turns = turns + 1
  return now + turns * 0.00025
end

local function whole(ms) return string.format('%.0f', ms) end

local HEADER = '^1|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d)|([^|\n]*)|([^|\n]*)|([^|\n]*)\n()'

local function parse(blob) -- nil when the blob is not one of ours
  local attempt, crashes, priority, created, due, back, kind, lane, tenant, body = string.match(blob, HEADER)
  if not attempt then return nil end
  return {attempt = attempt, crashes = crashes, priority = priority, created = created, due = due, back = back,
    kind = kind, lane = lane, tenant = tenant, payload = string.sub(blob, body)}
end

local function lane_of(blob) return (select(8, string.match(blob, HEADER))) end

local function save(id, job)
  local fields = {'1', job.attempt, job.crashes, job.priority, job.created, job.due, job.back, job.kind, job.lane,
    job.tenant}
  redis.call('HSET', jobs, id, table.concat(fields, '|') .. '\n' .. job.payload)
end

local in_use
local function levels() -- most urgent first
  in_use = in_use or redis.call('ZREVRANGE', P .. 'lv', 0, -1)
  return in_use
end

local function make_groups(level) -- from 0: a group that starts at the end would lose what is there already
  redis.pcall('XGROUP', 'CREATE', P .. 'r:' .. level, 'w', '0', 'MKSTREAM')
  redis.pcall('XGROUP', 'CREATE', P .. 'b:' .. level, 'w', '0', 'MKSTREAM')
end

local known = {}
local function use_level(level)
  if known[level] then return end
  known[level] = true
  if redis.call('ZADD', P .. 'lv', level, level) == 1 then
    make_groups(level)
    in_use = nil
  end
end

local function make_ready(level, id, first)
  use_level(level)
  redis.call('XADD', P .. (first and 'b:' or 'r:') .. level, '*', 'i', id)
end

local function stage(level, lane, id, at_head)
  use_level(level)
  local length = redis.call(at_head and 'LPUSH' or 'RPUSH', P .. 'l:' .. level .. ':' .. lane, id)
  -- A lane that had jobs is armed already, or at its cap and armed by the next finish. One that had none may have been
  -- left in `e` with the time of a park that ended; the claim finds out about one that has not.
  if length == 1 then redis.call('ZADD', P .. 'e:' .. level, soon(), lane) end
end

local function place(level, lane, id, first) -- where a job waits for its claim
  if lane == '' then make_ready(level, id, first) else stage(level, lane, id, first) end
end

local function arm(lane, from, flag) -- lets the lane's heads leave from this time on; NX keeps the turn it has
  for _, level in ipairs(levels()) do
    if redis.call('EXISTS', P .. 'l:' .. level .. ':' .. lane) == 1 then
      redis.call('ZADD', P .. 'e:' .. level, flag, math.max(from, soon()), lane)
    end
  end
end

local function lane_state(lane)
  local v = redis.call('HMGET', P .. 'ls:' .. lane, 'f', 't', 'n', 'k', 'rate', 'burst', 'cap', 'w')
  return {flying = tonumber(v[1]) or 0, arrival = tonumber(v[2]) or 0, next = tonumber(v[3]) or 0,
    parked = tonumber(v[4]) or 0, rate = tonumber(v[5]), burst = tonumber(v[6]), cap = tonumber(v[7]),
    woken = tonumber(v[8]) or 0}
end

-- Writes a lane's state. One with nothing in flight and no overrides goes when its past no longer matters.
local function save_lane(lane, s)
  local key = P .. 'ls:' .. lane
  local idle = s.flying == 0 and not (s.rate or s.burst or s.cap)
  local matters = math.max(s.arrival, s.parked)
  if idle and matters <= now then
    redis.call('DEL', key)
    return
  end
  redis.call('HSET', key, 'f', s.flying, 't', s.arrival, 'n', s.next, 'k', s.parked, 'w', s.woken)
  if idle then redis.call('PEXPIREAT', key, whole(math.ceil(matters))) else redis.call('PERSIST', key) end
end

local function release(lane, parked) -- one job of the lane is no longer in flight
  if lane == '' then return end
  local s = lane_state(lane)
  s.flying = math.max(0, s.flying - 1)
  if s.woken > 0 then -- it parks for what was true before the lane was woken
    s.woken = math.min(s.woken - 1, s.flying)
    parked = parked and now
  end
  s.parked = math.max(s.parked, parked or 0)
  save_lane(lane, s)
  arm(lane, math.max(s.next, s.parked), parked and 'CH' or 'NX')
end

local function drop_entry(stream, entry, id) -- ends a claim
  redis.call('XACK', P .. stream, 'w', entry)
  redis.call('XDEL', P .. stream, entry)
  redis.call('HDEL', P .. 'a', id)
end

local function put_back(stream, id, lane) -- unfinished: first in line again, nothing burnt
  release(lane)
  if redis.call('HEXISTS', jobs, id) == 1 then place(string.sub(stream, 3), lane, id, true) end
end
