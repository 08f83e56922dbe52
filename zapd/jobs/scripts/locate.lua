-- flags: allow-oom
-- ARGV: 1 to put back what is astray, ids. Answers one letter per id: l live (waiting, active, delayed or staged), d dead,
-- m missing, a astray: in `jobs` and nowhere else, because somebody took away the key that it waited in.
-- What is put back is first in line. Tell ids with a lane the last first, so that they stand in order.
-- A key of more than MOST entries is not looked through: what is missing there is found when it has become shorter.
local MOST = 1000
local ids = {unpack(ARGV, 2)}
local blobs, held = redis.call('HMGET', jobs, unpack(ids)), redis.call('HMGET', P .. 'a', unpack(ids))
local delayed, kinds = redis.call('ZMSCORE', P .. 'd', unpack(ids)), redis.call('HLEN', P .. 'pk')

local function members(...) -- of lists and streams together; nil: there are too many
  local all, total = {}, 0
  for _, name in ipairs({...}) do
    local is_list = string.match(name, '^[lk]:')
    local length = redis.pcall(is_list and 'LLEN' or 'XLEN', P .. name)
    total = total + (type(length) == 'number' and length or 0) -- a key of another type holds none of ours
    if total > MOST then return nil end
    if type(length) ~= 'number' then length = 0 end
    for _, entry in ipairs(length == 0 and {} or is_list and redis.call('LRANGE', P .. name, 0, -1)
      or redis.call('XRANGE', P .. name, '-', '+')) do
      all[is_list and entry or entry[2][2] or ''] = true
    end
  end
  return all
end

local looked = {}
local function among(id, ...)
  local name = table.concat({...}, ' ')
  if looked[name] == nil then looked[name] = members(...) or false end
  return not looked[name] or looked[name][id]
end

local armed = {}
local function is_armed(level, lane) -- its heads leave by themselves, or something will see to that
  local name = level .. ':' .. lane
  if armed[name] == nil then
    local s = lane_state(lane)
    local head = redis.call('HGET', jobs, redis.call('LINDEX', P .. 'l:' .. name, 0) or '')
    local _, kind, _, whose = string.match(head or '', PLACE .. '([^|\n]*)\n')
    armed[name] = s.paused or s.flying > 0 or not kind or redis.call('ZSCORE', P .. 'e:' .. level, lane)
      or redis.call('SISMEMBER', P .. 'kl:' .. kind, lane) == 1
      or redis.call('ZSCORE', P .. 'th:' .. level .. ':' .. whose, 'l' .. lane) or false
  end
  return armed[name]
end

local function is_astray(id, blob)
  local level, kind, lane, whose = string.match(blob, PLACE .. '([^|\n]*)\n')
  if not level then return false end -- one that cannot be read: the claimer buries it
  if not redis.call('ZSCORE', P .. 'lv', level) then return true end
  if lane ~= '' then return not (among(id, 'l:' .. level .. ':' .. lane) and is_armed(level, lane)) end
  if kinds > 0 and redis.call('HEXISTS', P .. 'pk', kind) == 1 and among(id, 'k:' .. kind) then return false end
  return not redis.call('ZSCORE', P .. 'th:' .. level .. ':' .. whose, 'j' .. id)
    and not among(id, 'b:' .. level, 'r:' .. level)
end

local function flying(lane) -- how many of the lane run
  local count = 0
  for _, id in ipairs(redis.call('HKEYS', P .. 'a')) do
    if select(3, string.match(redis.call('HGET', jobs, id) or '', PLACE)) == lane then count = count + 1 end
  end
  return count
end

local function put_where_it_waits(id, job)
  use_level(job.priority)
  if tonumber(job.due) > now then return write('ZADD', 'd', job.due, id) end
  if job.lane == '' then
    if not among(id, 'b:' .. job.priority, 'r:' .. job.priority) then make_ready(job.priority, id, true) end
    return
  end
  if not among(id, 'l:' .. job.priority .. ':' .. job.lane) then stage(job.priority, job.lane, id, true) end
  local s = lane_state(job.lane)
  s.flying = flying(job.lane) -- what ran may have been forgotten too
  save_lane(job.lane, s)
  arm(job.lane, math.max(s.next, s.parked), 'NX')
end

local found = {}
for i, id in ipairs(ids) do
  local blob = blobs[i]
  if not blob then found[i] = redis.call('HEXISTS', P .. 'xj', id) == 1 and 'd' or 'm'
  elseif held[i] or delayed[i] or not is_astray(id, blob) then found[i] = 'l'
  else
    found[i] = 'a'
    if ARGV[1] == '1' then put_where_it_waits(id, parse(blob)) end
  end
end
return table.concat(found)
