-- Loaded in front of every script: the key map of a queue and the moves that the scripts share.
--
-- KEYS[1] is `<prefix>jobs`; every other key of the queue has the same prefix, and with it the same hash tag.
-- KEYS[2] is `<prefix of the limits over all queues>g`, and only there while such limits are set: see below.
--   jobs          HASH   id -> blob: "1|attempt|crashes|priority|created|due|back|kind|lane|tenant\n" + payload.
--                        Also the index of unique ids: an id is live while it has a field here.
--   lv            ZSET   the priority levels in use
--   r:<p> b:<p>   STREAM ready jobs of level p without a lane, field `i` = id. `b` is read first: handed back, reclaimed.
--                        A claim takes its entries out, so that a long job pins no memory and nothing is acknowledged
--   gone          HASH   id -> how many of its entries in streams are void: canceled, or moved to another level
--   a             HASH   id -> "consumer|number" of the claim that runs now. This is the fence
--   d             ZSET   id -> due ms
--   l:<p>:<lane>  LIST   ids staged in a lane, head first
--   e:<p>         ZSET   lane -> ms from which its head may leave (fractions keep the turn). Lanes at their cap are absent
--   ls:<lane>     HASH   f in flight, w of those claimed before a wake, t theoretical arrival time, n next start, k parked
--                        until, z paused, rate/burst/cap overrides
--   pz            SET    lanes that are paused
--   pk            HASH   kind -> `p` paused or `r` resuming
--   k:<kind>      LIST   ids that a claim met while their kind was paused; kl:<kind> SET lanes whose head is of it
--   tw:<p>        ZSET   tenant -> ms from which its limit may let it go on; those of whom something is in `th`
--   th:<p>:<t>    ZSET   what claims met while tenant t was at its limit, in turn: `l` and a lane, `j` and a job without
--   hb            ZSET   consumer -> ms until which it counts as alive
--   op            HASH   consumer -> its last finish and the answer; "consumer claim" -> claims up to this number are void
--   x, xj         ZSET   dead id -> ms; HASH id -> "reason\nerror\n" + blob
--   qr            LIST   what lay in a stream and is not ours: "ms|stream|entry|" + per field "length:bytes"
--   cx            HASH   id -> the claim that is to be stopped; goes a minute after the last one was added
--   sp            HASH   id -> the claim that has not begun: its daemon's death is no crash of it. Goes after a minute
--   n:<id>        HASH   what a running job tells: p progress, at ms, e last error. Goes an hour after the last note, as does
--   lg:<id>       LIST   "ms|text", the last lines of its log
--   done          LIST   the newest completed: "ms|attempt|ms it took|tenant|id"
--   stat          HASH   counters
--   meta          HASH   `paused`; `arrival` of the queue's rate; `credit` and `turn` of aged levels; `void` entries in streams;
--                        `kinds` in pk; `held` in all tw, `aside` jobs in all th; `whole`: goes when Redis loses its data
--
--   seen, doubt   STRING ms of the last heartbeat; ms until which no heartbeat that is past proves a death
--
-- Of all queues together:
--   g             STRING theoretical arrival time of the rate over all queues
--   t:<tenant>    STRING the same of a tenant's rate
--   f:<tenant>    ZSET   "<queue's prefix><id>" -> ms until which the job counts as running; a lost one goes by itself
--   w:<tenant>    SET    the `tw` of queues that wait for one of those to end
--   own:<version> HASH   tenant -> "rate|burst|cap", its own limits
--
-- Times come from this server only, so that no daemon's clock matters. `now` has fractions: 1 ms = 1.0.

local P = string.sub(KEYS[1], 1, -5)
local jobs = KEYS[1]
local W = KEYS[2] and string.sub(KEYS[2], 1, -2) -- limits over all queues are set
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000

-- How far this server's clock went back since the last heartbeat, 0 when it did not; true when it went ahead by more
-- than any daemon stays silent: then all heartbeats are past at once, and nobody is dead for that.
local function clock_jump(silence)
  local seen = tonumber(redis.call('GET', P .. 'seen')) or now
  return math.max(0, seen - now - 1000), now - seen > tonumber(silence)
end

local turns = 0
local function soon() -- later than all that asked before, so that equal lanes take turns; 0.00025 is a double's step
  turns = turns + 1
  return now + turns * 0.00025
end

local function whole(ms) return string.format('%.0f', ms) end

local HEADER = '^1|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|([^|\n]*)|([^|\n]*)|([^|\n]*)\n()'

local function parse(blob) -- nil when the blob is not one of ours
  local attempt, crashes, priority, created, due, back, kind, lane, tenant, body = string.match(blob, HEADER)
  if not attempt then return nil end
  return {attempt = attempt, crashes = crashes, priority = priority, created = created, due = due, back = back,
    kind = kind, lane = lane, tenant = tenant, payload = string.sub(blob, body)}
end

-- What a claim must know of a blob: level, kind and lane.
local PLACE = '^1|%d+|%d+|(%d+)|%d+|%d+|%d+|([^|\n]*)|([^|\n]*)|'

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

local function set_apart(name) -- a key of another type, which zapd did not write: out of the way, with what it holds
  redis.call('RENAME', P .. name, P .. 'bad:' .. name .. ':' .. whole(now))
  redis.call('HINCRBY', P .. 'stat', 'quarantined', 1)
end

local function write(command, name, ...) -- never half of a move: Redis does not take back what a script did before
  local answer = redis.pcall(command, P .. name, ...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then set_apart(name) end
  return redis.call(command, P .. name, ...)
end

local known = {}
local function use_level(level)
  if known[level] then return end
  known[level] = true
  if write('ZADD', 'lv', level, level) == 1 then in_use = nil end
end

local function void_entry(id) -- one more of its entries counts for nothing
  redis.call('HINCRBY', P .. 'gone', id, 1)
  redis.call('HINCRBY', P .. 'meta', 'void', 1)
end

local function make_ready(level, id, first)
  use_level(level)
  write('XADD', (first and 'b:' or 'r:') .. level, '*', 'i', id)
end

local function stage(level, lane, id, at_head)
  use_level(level)
  local length = write(at_head and 'LPUSH' or 'RPUSH', 'l:' .. level .. ':' .. lane, id)
  -- A lane that had jobs is armed already, or at its cap and armed by the next finish. One that had none may have been
  -- left in `e` with the time of a park that ended; the claim finds out about one that has not.
  if length == 1 then write('ZADD', 'e:' .. level, soon(), lane) end
  return length == 1
end

local function place(level, lane, id, first) -- where a job waits for its claim; whether a claim may find more than before
  if lane ~= '' then return stage(level, lane, id, first) end
  make_ready(level, id, first)
  return true
end

local function arm(lane, from, flag) -- lets the lane's heads leave from this time on; NX keeps the turn it has
  for _, level in ipairs(levels()) do
    if redis.call('EXISTS', P .. 'l:' .. level .. ':' .. lane) == 1 then
      redis.call('ZADD', P .. 'e:' .. level, flag, math.max(from, soon()), lane)
    end
  end
end

local function lane_state(lane)
  local v = redis.call('HMGET', P .. 'ls:' .. lane, 'f', 't', 'n', 'k', 'rate', 'burst', 'cap', 'w', 'z')
  return {flying = tonumber(v[1]) or 0, arrival = tonumber(v[2]) or 0, next = tonumber(v[3]) or 0,
    parked = tonumber(v[4]) or 0, rate = tonumber(v[5]), burst = tonumber(v[6]), cap = tonumber(v[7]),
    woken = tonumber(v[8]) or 0, paused = v[9], bare = not (v[2] or v[3] or v[4] or v[8])}
end

-- Writes a lane's state. One with nothing in flight and no overrides goes when its past no longer matters.
local function save_lane(lane, s)
  local key = P .. 'ls:' .. lane
  local idle = s.flying == 0 and not (s.rate or s.burst or s.cap or s.paused)
  local matters = math.max(s.arrival, s.parked)
  if idle and matters <= now then
    redis.call('DEL', key)
  elseif s.bare and matters == 0 and s.woken == 0 then -- numbers cost more to write than all the rest
    redis.call('HSET', key, 'f', s.flying)
  else
    redis.call('HSET', key, 'f', s.flying, 't', s.arrival, 'n', s.next, 'k', s.parked, 'w', s.woken)
    if idle then redis.call('PEXPIREAT', key, whole(math.ceil(matters))) else redis.call('PERSIST', key) end
  end
end

local function give_back(s, queue) -- the last start of the lane does not count; undoes `start` of claim.lua
  local rate = s.rate or queue.rate
  if rate <= 0 then return end
  local interval = 60000 / rate
  s.arrival = math.max(0, s.arrival - interval)
  s.next = math.max(0, s.arrival - (math.max(1, s.burst or queue.burst) - 1) * interval)
end

local function release(lane, parked, back) -- one job of the lane is no longer in flight; `back`: its start does not count
  if lane == '' then return end
  local s = lane_state(lane)
  s.flying = math.max(0, s.flying - 1)
  if back then give_back(s, back) end
  if s.woken > 0 then -- it parks for what was true before the lane was woken
    s.woken = math.min(s.woken - 1, s.flying)
    parked = parked and now
  end
  s.parked = math.max(s.parked, parked or 0)
  save_lane(lane, s)
  arm(lane, math.max(s.next, s.parked), parked and 'CH' or 'NX')
end

local function quarantine(where, entry, fields) -- what is not ours, with its bytes
  local parts = {}
  for i, part in ipairs(fields) do parts[i] = #part .. ':' .. part end
  redis.call('LPUSH', P .. 'qr', whole(now) .. '|' .. where .. '|' .. entry .. '|' .. table.concat(parts))
  redis.call('LTRIM', P .. 'qr', 0, 999)
  redis.call('HINCRBY', P .. 'stat', 'quarantined', 1)
end

local function let_go(id, tenant) -- the job no longer runs: its tenant may have room for another, in whatever queue
  if not W or redis.call('ZREM', W .. 'f:' .. tenant, P .. id) == 0 then return end
  for _, waiting in ipairs(redis.call('SMEMBERS', W .. 'w:' .. tenant)) do
    redis.call('ZADD', waiting, 'XX', now, tenant)
  end
  redis.call('DEL', W .. 'w:' .. tenant)
end

local function free_of_kinds(lane) -- the head that held it up, because its kind is paused, may be gone: a claim looks again
  for _, kind in ipairs(redis.call('HKEYS', P .. 'pk')) do
    if redis.call('SREM', P .. 'kl:' .. kind, lane) == 1 then arm(lane, now, 'NX') end
  end
end

local function take_out(id, job) -- of where it waits, which is told. `job` is nil for a blob that cannot be read
  if redis.call('ZREM', P .. 'd', id) == 1 then return 'd' end
  if job and job.lane ~= '' then
    redis.call('LREM', P .. 'l:' .. job.priority .. ':' .. job.lane, 1, id)
    free_of_kinds(job.lane)
    return 'l'
  end
  if job and redis.call('HEXISTS', P .. 'pk', job.kind) == 1 and redis.call('LREM', P .. 'k:' .. job.kind, 1, id) == 1 then
    return 'k'
  end
  if job and redis.call('ZREM', P .. 'th:' .. job.priority .. ':' .. job.tenant, 'j' .. id) == 1 then
    redis.call('HINCRBY', P .. 'meta', 'aside', -1)
    return 't'
  end
  void_entry(id)
  return 'r'
end

local function put_back(id, job, lane) -- unfinished: first in line again, nothing burnt. `job` is nil when it is gone
  redis.call('HDEL', P .. 'a', id)
  release(lane)
  if not job then return end
  let_go(id, job.tenant)
  place(job.priority, job.lane, id, true)
end

local function put_all_back(found) -- {id, number} of one or more consumers' claims; `of` gives the job to write back
  -- Lanes take them at their head, the newest first, so that their order holds; a stream takes them at its end.
  table.sort(found, function(x, y) return x.number < y.number end)
  local lanes = {}
  for _, claim in ipairs(found) do
    local job = claim.job
    if job and job.lane ~= '' then lanes[#lanes + 1] = claim else put_back(claim.id, job, '') end
  end
  for i = #lanes, 1, -1 do put_back(lanes[i].id, lanes[i].job, lanes[i].job.lane) end
end
