-- flags: allow-oom
-- ARGV: consumer, number of this claim, most jobs, ms a heartbeat holds, default lane rate per minute (0: none),
-- burst, cap, the whole queue's rate, burst and most in flight over all daemons (0: no limit), ms after which a level
-- counts as aged. With KEYS[2] also: rate and burst over all queues, rate, burst and most in flight of a tenant (0: no
-- limit), ms after which a job cannot run any more, version of the tenants' own limits ('': there are none).
-- Answers {more, ms until something is due or -1, {id, blob, …}, about how many are ready, 1 when the rate over all
-- queues let none go, 1 when tenants are at their limits and 2 when one just met its limit in flight}, or nil when the
-- tenants' own limits must be told first. The fence of the i-th job is number * 1000 + i.
local me, number, free = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lane_rate, lane_burst, lane_cap = tonumber(ARGV[5]), math.max(1, tonumber(ARGV[6])), tonumber(ARGV[7])
local meta = redis.call('HMGET', P .. 'meta', 'paused', 'arrival', 'credit', 'kinds', 'held', 'turn')
local SHARE = 8 -- one in so many slots is for levels that have aged
local more = false
local taken, found, holds = {}, {}, {} -- by id; id and blob; id and fence
local count = 0

local kinds = {} -- that are paused

local function resume_kind(kind) -- what was set aside is first in line again; bounded, as is every loop here
  local key, lanes = P .. 'k:' .. kind, P .. 'kl:' .. kind
  for _, id in ipairs(redis.call('LRANGE', key, 0, 499)) do
    local job = parse(redis.call('HGET', jobs, id) or '')
    if job then place(job.priority, job.lane, id, true) end
  end
  redis.call('LTRIM', key, 500, -1)
  local stuck = redis.call('SPOP', lanes, 200)
  table.sort(stuck)
  for _, lane in ipairs(stuck) do arm(lane, now, 'NX') end
  more = true
  if redis.call('EXISTS', key, lanes) == 0 then
    redis.call('HDEL', P .. 'pk', kind)
    redis.call('HSET', P .. 'meta', 'kinds', redis.call('HLEN', P .. 'pk'))
  end
end

local function look_at_kinds()
  local all = redis.call('HGETALL', P .. 'pk')
  for i = 1, #all, 2 do
    if all[i + 1] == 'p' then kinds[all[i]] = true else resume_kind(all[i]) end
  end
end

-- Limits of tenants over all queues. A tenant that is at one has what a claim meets of it set aside, so that neither
-- the next claim nor another tenant meets it again; when the limit lets it go on, that is first in line.
local holding = W or (tonumber(meta[5]) or 0) > 0 -- the limits may be gone, and things still set aside
local WHOSE = PLACE .. '([^|\n]*)\n'
local where = holding and WHOSE or PLACE
local tenants, capped, aside = {}, false, 0

local function arrival_of(kept, rate, burst) -- never later than a whole burst makes it: the clock may have gone back
  if rate <= 0 then return now end
  return math.max(now, math.min(tonumber(kept) or 0, now + burst * 60000 / rate))
end

local function own_limits(name)
  local rate, burst, cap = ARGV[14], ARGV[15], ARGV[16]
  local own = ARGV[18] ~= '' and redis.call('HGET', W .. 'own:' .. ARGV[18], name)
  if own then rate, burst, cap = string.match(own, '^(.*)|(.*)|(.*)$') end
  return tonumber(rate), math.max(1, tonumber(burst)), tonumber(cap)
end

local function tenant(name) -- `left`: how many more it may start
  local t = tenants[name]
  if t then return t end
  t = {left = math.huge, ids = {}, held = {}, rate = 0, cap = 0}
  tenants[name] = t
  if not W then return t end
  t.rate, t.burst, t.cap = own_limits(name)
  if t.rate > 0 then
    local interval = 60000 / t.rate
    t.arrival = arrival_of(redis.call('GET', W .. 't:' .. name), t.rate, t.burst)
    t.left = math.floor((now - t.arrival) / interval + t.burst + 1e-6)
  end
  if t.cap > 0 then
    redis.call('ZREMRANGEBYSCORE', W .. 'f:' .. name, '-inf', now)
    t.room = t.cap - redis.call('ZCARD', W .. 'f:' .. name)
    t.left = math.min(t.left, t.room)
  end
  return t
end

local function is_held(level, name)
  local held = tenant(name).held
  if held[level] == nil then held[level] = redis.call('ZSCORE', P .. 'tw:' .. level, name) and true or false end
  return held[level]
end

local function may(level, name) return not W or (tenant(name).left >= 1 and not is_held(level, name)) end

local function hold(level, name) -- it is looked at again when its limit may let it go on
  local t, from = tenant(name), soon()
  if t.left < 1 and t.rate > 0 then
    local interval = 60000 / t.rate
    from = math.max(from, t.arrival + (#t.ids + 1 - t.burst) * interval)
  end
  if t.left < 1 and t.cap > 0 and t.room - #t.ids < 1 then -- whoever ends a job of it says so
    capped = true
    from = math.max(from, now + 1000)
    redis.call('SADD', W .. 'w:' .. name, P .. 'tw:' .. level)
    redis.call('PEXPIRE', W .. 'w:' .. name, 60000)
  end
  if redis.call('ZADD', P .. 'tw:' .. level, from, name) == 1 then redis.call('HINCRBY', P .. 'meta', 'held', 1) end
  t.held[level] = true
end

local function set_aside(level, name, what, first)
  aside = aside + 1
  if not is_held(level, name) then hold(level, name) end
  local new = redis.call('ZADD', P .. 'th:' .. level .. ':' .. name, 'NX', first and 0 or soon(), what)
  if new == 1 and string.sub(what, 1, 1) == 'j' then redis.call('HINCRBY', P .. 'meta', 'aside', 1) end
end

local function promote() -- due jobs to where they wait; bounded, because a script blocks every client
  local due = redis.call('ZRANGEBYSCORE', P .. 'd', '-inf', now, 'LIMIT', 0, 200)
  more = more or #due == 200
  local back = {}
  for _, id in ipairs(due) do
    local blob = redis.call('HGET', jobs, id)
    local job = blob and (parse(blob) or {priority = '1', lane = '', back = '0'})
    if job and job.back ~= '0' and job.lane ~= '' then back[#back + 1] = {job, id}
    elseif job then place(job.priority, job.lane, id) end
    redis.call('ZREM', P .. 'd', id)
  end
  for i = #back, 1, -1 do stage(back[i][1].priority, back[i][1].lane, back[i][2], true) end
end

local function take(id, blob, name)
  count = count + 1
  if W then
    local t = tenant(name)
    t.left = t.left - 1
    t.ids[#t.ids + 1] = id
  end
  taken[id] = true
  found[2 * count - 1], found[2 * count] = id, blob
  holds[2 * count - 1], holds[2 * count] = id, me .. '|' .. number * 1000 + count
end

local function drop(stream, entry, id) -- an entry that gives no job: void, or not of our making
  local voids = tonumber(redis.call('HGET', P .. 'gone', id))
  if voids then
    redis.call('HINCRBY', P .. 'meta', 'void', -1)
    if voids > 1 then redis.call('HINCRBY', P .. 'gone', id, -1) else redis.call('HDEL', P .. 'gone', id) end
    return
  end
  quarantine(stream, entry[1], entry[2])
end

local function entries_of(stream, most)
  local entries = redis.pcall('XRANGE', P .. stream, '-', '+', 'COUNT', most)
  if not entries.err then return entries end
  set_apart(stream)
  return {}
end

local function read(kind_of_stream, level, most)
  local stream = kind_of_stream .. level
  local entries = entries_of(stream, most)
  if #entries == 0 then return end
  more = more or #entries == most -- also when none of them gives a job
  local ids = {}
  for i, entry in ipairs(entries) do ids[i] = entry[2][1] == 'i' and entry[2][2] or '' end
  local blobs, held = redis.call('HMGET', jobs, unpack(ids)), redis.call('HMGET', P .. 'a', unpack(ids))
  local delayed = redis.call('ZCARD', P .. 'd') > 0 and redis.call('ZMSCORE', P .. 'd', unpack(ids)) or {}
  for i, id in ipairs(ids) do
    local blob, here = blobs[i], false
    if blob and not held[i] and not delayed[i] and not taken[id] then
      local own_level, kind, lane, whose = string.match(blob, where) -- nil of one that cannot be read: the claimer buries it
      here = not lane or lane == '' and own_level == level
      if here and kinds[kind] then redis.call('RPUSH', P .. 'k:' .. kind, id)
      elseif here and whose and not may(level, whose) then set_aside(level, whose, 'j' .. id, kind_of_stream == 'b:')
      elseif here then take(id, blob, whose or '') end
    end
    if not here then drop(stream, entries[i], id) end
  end
  local ms, sequence = string.match(entries[#entries][1], '^(%d+)-(%d+)$')
  if #sequence < 15 then redis.call('XTRIM', P .. stream, 'MINID', ms .. '-' .. whole(sequence + 1))
  else -- a stranger's id, of which a double cannot say the next
    for _, entry in ipairs(entries) do redis.call('XDEL', P .. stream, entry[1]) end
  end
end

local function pop(level, lane) -- the head that was not canceled, unless its kind is paused
  local list = P .. 'l:' .. level .. ':' .. lane
  while true do
    local id = redis.call('LPOP', list)
    local blob = id and redis.call('HGET', jobs, id)
    if not id then return end
    if blob then
      local _, kind, _, whose = string.match(blob, where)
      local open = not whose or may(level, whose)
      if open and not kinds[kind] then return id, blob, whose or '' end
      redis.call('LPUSH', list, id)
      if open then redis.call('SADD', P .. 'kl:' .. kind, lane) else set_aside(level, whose, 'l' .. lane) end
      return
    end
  end
end

local function start(lane, s) -- GCRA: one job of the lane leaves now
  local rate = s.rate or lane_rate
  s.flying = s.flying + 1
  if rate > 0 then
    local interval = 60000 / rate
    s.arrival = math.max(s.arrival, now) + interval
    s.next = s.arrival - (math.max(1, s.burst or lane_burst) - 1) * interval
  end
  save_lane(lane, s)
end

local function take_head(level, lane) -- true when a job left
  local eligible, s = P .. 'e:' .. level, lane_state(lane)
  local from, cap = math.max(s.next, s.parked), s.cap or lane_cap
  local open = s.flying < cap and not s.paused
  if open and from > now then
    redis.call('ZADD', eligible, from, lane)
    return false
  end
  local id, blob, whose
  if open then id, blob, whose = pop(level, lane) end
  if not id then
    redis.call('ZREM', eligible, lane)
    return false
  end
  start(lane, s)
  take(id, blob, whose)
  if s.flying < cap then redis.call('ZADD', eligible, math.max(s.next, soon()), lane)
  else redis.call('ZREM', eligible, lane) end
  return true
end

local function read_lanes(level, most) -- in rounds over the lanes, one job of each per round
  local got, tries = 0, 0
  repeat
    local last = now + turns * 0.00025 -- lanes that this call armed again are in too
    local lanes = redis.call('ZRANGEBYSCORE', P .. 'e:' .. level, '-inf', last, 'LIMIT', 0, most - got)
    for _, lane in ipairs(lanes) do
      if take_head(level, lane) then got = got + 1 end
    end
    tries = tries + #lanes
  until #lanes == 0 or got == most or tries >= most * 4
  more = more or tries >= most * 4
end

local function take_aside(level, name) -- the first that was set aside; false: nothing is left
  local what = redis.call('ZPOPMIN', P .. 'th:' .. level .. ':' .. name)[1]
  if not what then return false end
  local id = string.sub(what, 2)
  if string.sub(what, 1, 1) == 'l' then take_head(level, id)
  else
    redis.call('HINCRBY', P .. 'meta', 'aside', -1)
    local blob = redis.call('HGET', jobs, id)
    local _, kind = string.match(blob or '', PLACE)
    if blob and kinds[kind] then redis.call('RPUSH', P .. 'k:' .. kind, id)
    elseif blob then take(id, blob, name) end
  end
  return true
end

local function read_aside(level, most) -- tenants whose limit may let them go on, in rounds, one job of each per round
  local due = redis.call('ZRANGEBYSCORE', P .. 'tw:' .. level, '-inf', W and now or '+inf', 'LIMIT', 0, 100)
  for _, name in ipairs(due) do tenant(name).held[level] = false end
  local tries, before = 0, nil
  repeat
    before = tries
    for _, name in ipairs(due) do
      if count < most and tenant(name).left >= 1 and take_aside(level, name) then tries = tries + 1 end
    end
  until tries == before or tries >= 1000
  for _, name in ipairs(due) do
    if redis.call('EXISTS', P .. 'th:' .. level .. ':' .. name) == 1 then hold(level, name)
    elseif redis.call('ZREM', P .. 'tw:' .. level, name) == 1 then
      tenant(name).held[level] = false
      redis.call('HINCRBY', P .. 'meta', 'held', -1)
    end
  end
  more = more or tries >= 1000 or #due == 100
end

local function read_stream(kind_of_stream, level, most) -- past what is of tenants at their limits
  local tries, met = 0, 0
  repeat
    met, tries = aside, tries + 1
    read(kind_of_stream, level, most - count)
  until count >= most or aside == met or tries >= 20
end

local function read_level(level, most) -- until this claim has so many jobs
  local lanes_first = number % 2 == 0 -- neither lanes nor free jobs of one level starve the other
  local aside_first = holding and number % 4 < 2 -- nor do tenants that were at their limits those that were not
  if aside_first and count < most then read_aside(level, most) end
  if count < most then read_stream('b:', level, most) end
  if lanes_first and count < most then read_lanes(level, most - count) end
  if count < most then read_stream('r:', level, most) end
  if not lanes_first and count < most then read_lanes(level, most - count) end
  if holding and not aside_first and count < most then read_aside(level, most) end
end

local function head_since(level) -- when the head of the lane whose turn it is was made or due
  local first = redis.call('ZRANGE', P .. 'e:' .. level, 0, 0, 'WITHSCORES')
  if not first[1] or tonumber(first[2]) > now then return end
  local id = redis.call('LINDEX', P .. 'l:' .. level .. ':' .. first[1], 0)
  local job = id and parse(redis.call('HGET', jobs, id) or '')
  return job and math.max(job.created, job.due)
end

local function waits_since(level)
  local first = head_since(level)
  for _, stream in ipairs({'b:' .. level, 'r:' .. level}) do
    local entry = entries_of(stream, 1)[1]
    local ms = entry and tonumber(string.match(entry[1], '^%d+'))
    if ms and not (first and first < ms) then first = ms end
  end
  if holding then
    local since = tonumber(redis.call('ZRANGE', P .. 'tw:' .. level, 0, 0, 'WITHSCORES')[2])
    if since and since <= now and not (first and first < since) then first = since end
  end
  return first
end

local credit = tonumber(meta[3]) or 0

local function aged_levels() -- without the first that has something: strict order serves that one anyway
  local aged, first = {}, true
  for _, level in ipairs(levels()) do
    local since = waits_since(level)
    if since and not first and now - since > tonumber(ARGV[11]) then aged[#aged + 1] = level end
    first = first and not since
  end
  return aged
end

local turn = tonumber(meta[6]) or 0

local function read_aged() -- a share of the slots, each level in its turn: an older one may have a million jobs
  local aged = aged_levels()
  if #aged == 0 then return end
  local share = math.floor((credit + free) / SHARE)
  credit = credit + free - share * SHARE
  repeat
    local before = count
    for _ = 1, #aged do
      if count < share then
        read_level(aged[turn % #aged + 1], count + 1)
        turn = turn + 1
      end
    end
  until count == before or count >= share
  redis.call('HSET', P .. 'meta', 'credit', credit, 'turn', turn)
end

local function next_in() -- ms until a delayed job or a lane is due
  local first
  local function look(key)
    local score = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
    if score and (not first or score < first) then first = score end
  end
  look(P .. 'd')
  for _, level in ipairs(levels()) do
    look(P .. 'e:' .. level)
    if holding then look(P .. 'tw:' .. level) end
  end
  return first and math.max(0, math.ceil(first - now)) or -1
end

local queue_rate, queue_burst, queue_cap = tonumber(ARGV[8]), math.max(1, tonumber(ARGV[9])), tonumber(ARGV[10])
local arrival = arrival_of(meta[2], queue_rate, queue_burst)

local all_rate, all_burst = W and tonumber(ARGV[12]) or 0, W and math.max(1, tonumber(ARGV[13]))
local all_arrival = all_rate > 0 and arrival_of(redis.call('GET', W .. 'g'), all_rate, all_burst)

local function room(rate, burst, from) -- GCRA: how many may start now, and ms until the next one may
  local interval = 60000 / rate
  local early = now + burst * interval - from
  return math.floor(early / interval + 1e-6), math.ceil(interval - early)
end

local function keep(key, rate, from, started) -- GCRA: so many have started
  local to = from + started * 60000 / rate
  redis.call('SET', key, string.format('%.3f', to), 'PX', math.ceil(to - now) + 1000)
end

local function save_limits()
  if all_rate > 0 then keep(W .. 'g', all_rate, all_arrival, count) end
  for name, t in pairs(tenants) do
    if #t.ids > 0 and t.rate > 0 then keep(W .. 't:' .. name, t.rate, t.arrival, #t.ids) end
    if #t.ids > 0 and t.cap > 0 then
      for _, id in ipairs(t.ids) do redis.call('ZADD', W .. 'f:' .. name, now + ARGV[17], P .. id) end
      redis.call('PEXPIRE', W .. 'f:' .. name, ARGV[17] + 1000)
    end
  end
end

local function nothing(wait, shut)
  return {0, wait, {}, 0, shut or 0, (tonumber(meta[5]) or 0) > 0 and 1 or 0}
end

if number <= (tonumber(redis.call('HGET', P .. 'op', me .. ' claim')) or 0) then return nothing(-1) end
if W and ARGV[18] ~= '' and redis.call('EXISTS', W .. 'own:' .. ARGV[18]) == 0 then return nil end
redis.call('ZREM', P .. 'd', '') -- a full Redis 6.2 lets a script go on once it has written something that frees memory
if (tonumber(meta[4]) or 0) > 0 then look_at_kinds() end
promote()
if meta[1] then return nothing(-1) end
if queue_cap > 0 then
  free = math.min(free, queue_cap - redis.call('HLEN', P .. 'a'))
  if free <= 0 then return nothing(-1) end -- whoever ends a job looks again
end
if queue_rate > 0 then
  local allowed, wait = room(queue_rate, queue_burst, arrival)
  if allowed < 1 then return nothing(wait) end
  free = math.min(free, allowed)
end
if all_rate > 0 then
  local allowed, wait = room(all_rate, all_burst, all_arrival)
  if allowed < 1 then return nothing(wait, 1) end
  free = math.min(free, allowed)
end
if #levels() > 1 then read_aged() end
for _, level in ipairs(levels()) do read_level(level, free) end
more = more or count >= free
if count > 0 then
  redis.call('HSET', P .. 'a', unpack(holds))
  redis.call('ZADD', P .. 'hb', now + ARGV[4], me)
  if queue_rate > 0 then redis.call('HSET', P .. 'meta', 'arrival', arrival + count * 60000 / queue_rate) end
  if W then save_limits() end
end

local function ready() -- about how many could be claimed now
  local total = 0
  for _, level in ipairs(levels()) do
    total = total + redis.call('XLEN', P .. 'b:' .. level) + redis.call('XLEN', P .. 'r:' .. level)
      + redis.call('ZCOUNT', P .. 'e:' .. level, '-inf', now)
      + (holding and redis.call('ZCOUNT', P .. 'tw:' .. level, '-inf', now) or 0)
  end
  return total
end

local held = holding and tonumber(redis.call('HGET', P .. 'meta', 'held')) or 0
return {more and 1 or 0, more and 0 or next_in(), found, more and ready() or 0, 0, capped and 2 or held > 0 and 1 or 0}
