-- flags: allow-oom
-- ARGV: consumer, its node (whose other consumers are dead for sure), 1 to look at other nodes too, most jobs, ms that a
-- heartbeat holds.
-- Takes jobs from consumers whose heartbeat is past, counts a crash for each, and forgets consumers that hold nothing.
-- Answers the number of jobs; as many as asked for means that there may be more.
local me, mates, most = ARGV[1], ARGV[2] .. ':', tonumber(ARGV[4])
local back, ahead = clock_jump(ARGV[5])
local doubt = tonumber(redis.call('GET', P .. 'doubt')) or 0
local others = ARGV[3] == '1' and back == 0 and not ahead and not (doubt > now and doubt <= now + ARGV[5] + 1000)
local dead, names = {}, redis.call('ZRANGE', P .. 'hb', 0, 999, 'WITHSCORES')
for i = 1, #names, 2 do -- whoever holds a job is in there: a claim writes both
  local name = names[i]
  local mate = string.sub(name, 1, #mates) == mates
  if name ~= me and (mate or others and tonumber(names[i + 1]) < now) then dead[name] = 0 end
end

local function holder(hold) -- its name and fence. A zapd of before there were fences wrote name|stream|entry
  local name, number = string.match(hold, '^(.*)|(%d+)$')
  if name then return name, tonumber(number) end
  name = string.match(hold, '^(.-)|') or hold
  local beats = tonumber(redis.call('ZSCORE', P .. 'hb', name) or 0) >= now
  if not dead[name] and others and name ~= me and not beats then dead[name] = 0 end -- we may have forgotten it already
  return name, 0
end

local found = {}
local held = redis.call('HGETALL', P .. 'a')
for i = 1, #held, 2 do
  local name, number = holder(held[i + 1])
  if dead[name] then
    dead[name] = dead[name] + 1
    found[#found + 1] = {id = held[i], number = number, name = name, claim = held[i + 1]}
  end
end
if not next(dead) then return 0 end
table.sort(found, function(x, y) return x.number > y.number end) -- newest first: what comes later goes in front of them
for i = #found, most + 1, -1 do found[i] = nil end
for _, claim in ipairs(found) do
  claim.job = parse(redis.call('HGET', jobs, claim.id) or '')
  dead[claim.name] = dead[claim.name] - 1
  if claim.job and redis.call('HGET', P .. 'sp', claim.id) ~= claim.claim then
    claim.job.crashes = claim.job.crashes + 1
    save(claim.id, claim.job)
  end
end
put_all_back(found)
for name, left in pairs(dead) do
  if left == 0 then
    redis.call('ZREM', P .. 'hb', name)
    redis.call('HDEL', P .. 'op', name, name .. ' claim')
  end
end
if #found > 0 then redis.call('HINCRBY', P .. 'stat', 'reclaimed', #found) end
return #found
