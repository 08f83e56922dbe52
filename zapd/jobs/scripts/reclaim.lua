-- flags: allow-oom
-- ARGV: consumer, its node (whose other consumers are dead for sure), 1 to look at other nodes too, most jobs.
-- Takes jobs from consumers whose heartbeat is past, counts a crash for each, and forgets consumers that hold nothing.
-- Answers the number of jobs; as many as asked for means that there may be more.
local me, mates, left = ARGV[1], ARGV[2] .. ':', tonumber(ARGV[4])
local reclaimed, holding = 0, {}

local function is_dead(name)
  if name == me then return false end
  if string.sub(name, 1, #mates) == mates then return true end
  if ARGV[3] ~= '1' then return false end
  local until_ms = tonumber(redis.call('ZSCORE', P .. 'hb', name) or 0)
  return until_ms < now
end

local function take(stream, name)
  local rows = redis.call('XPENDING', P .. stream, 'w', '-', '+', left, name)
  for i = #rows, 1, -1 do -- newest first, so that lanes keep their order
    local entry = rows[i][1]
    local body = redis.call('XRANGE', P .. stream, entry, entry)[1]
    local id = body and body[2][2] or ''
    drop_entry(stream, entry, id)
    local job = parse(redis.call('HGET', jobs, id) or '')
    if job then
      job.crashes = job.crashes + 1
      save(id, job)
    end
    put_back(stream, id, job and job.lane or '')
  end
  reclaimed, left = reclaimed + #rows, left - #rows
end

local function sweep(stream)
  local consumers = redis.pcall('XINFO', 'CONSUMERS', P .. stream, 'w')
  for _, info in ipairs(consumers.err and {} or consumers) do
    local name, pending = info[2], info[4]
    if is_dead(name) then
      if pending > 0 and left > 0 then
        take(stream, name)
        pending = redis.call('XPENDING', P .. stream, 'w', '-', '+', 1, name)[1] and 1 or 0
      end
      if pending == 0 then redis.call('XGROUP', 'DELCONSUMER', P .. stream, 'w', name) else holding[name] = true end
    end
  end
end

for _, level in ipairs(levels()) do
  sweep('b:' .. level)
  sweep('r:' .. level)
end
for _, name in ipairs(redis.call('ZRANGE', P .. 'hb', 0, 999)) do
  if is_dead(name) and not holding[name] then
    redis.call('ZREM', P .. 'hb', name)
    redis.call('HDEL', P .. 'op', name, name .. ' claim')
  end
end
if reclaimed > 0 then redis.call('HINCRBY', P .. 'stat', 'reclaimed', reclaimed) end
return reclaimed
