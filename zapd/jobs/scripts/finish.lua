-- flags: allow-oom
-- ARGV: consumer, name of this call, then per job stream, entry, id, lane, ending, delay ms, reason, error.
-- Endings: d done, r retry, s snooze, p snooze and park the lane, x dead, h hand back.
-- Answers one digit per job: 1 taken, 0 refused because the claim is not (any more) this consumer's.
-- The same call again, after its answer was lost, gets the same answer and changes nothing.
local me, call = ARGV[1], ARGV[2] .. '|'
local last = redis.call('HGET', P .. 'op', me)
if last and string.sub(last, 1, #call) == call then return string.sub(last, #call + 1) end

local ids = {}
for i = 3, #ARGV, 8 do ids[#ids + 1] = ARGV[i + 2] end
local held = redis.call('HMGET', P .. 'a', unpack(ids))

local answers, mine, entries, seen = {}, {}, {}, {}
for n, id in ipairs(ids) do
  local i = 8 * n - 5
  local stream, entry = ARGV[i], ARGV[i + 1]
  local ours = held[n] == me .. '|' .. stream .. '|' .. entry and not seen[id]
  answers[n] = ours and 1 or 0
  if ours then
    seen[id] = true
    mine[#mine + 1] = id
    entries[stream] = entries[stream] or {}
    table.insert(entries[stream], entry)
  end
end

-- XACK goes first: a full Redis 6.2 lets a script go on once it has written something that frees memory.
for stream, list in pairs(entries) do
  redis.call('XACK', P .. stream, 'w', unpack(list))
  redis.call('XDEL', P .. stream, unpack(list))
end
if #mine > 0 then redis.call('HDEL', P .. 'a', unpack(mine)) end

local function delay(id, ms, failed)
  local job = parse(redis.call('HGET', jobs, id) or '')
  if not job then return end
  if failed then job.attempt = job.attempt + 1 end
  local due = math.ceil(now + ms)
  job.due, job.back = whole(due), '1'
  save(id, job)
  redis.call('ZADD', P .. 'd', due, id)
end

local function bury(id, reason, error)
  local blob = redis.call('HGET', jobs, id)
  if not blob then return end
  redis.call('HSET', P .. 'xj', id, reason .. '\n' .. error .. '\n' .. blob)
  redis.call('ZADD', P .. 'x', now, id)
  redis.call('HDEL', jobs, id)
end

local done, log, counts = {}, {}, {}
for n, id in ipairs(ids) do
  if answers[n] == 1 then
    local i = 8 * n - 5
    local stream, lane, ending, ms = ARGV[i], ARGV[i + 3], ARGV[i + 4], tonumber(ARGV[i + 5])
    counts[ending] = (counts[ending] or 0) + 1
    if ending == 'd' then
      done[#done + 1] = id
      log[#log + 1] = whole(math.floor(now)) .. '|' .. ARGV[i + 6] .. '|' .. id
      release(lane)
    elseif ending == 'h' then
      put_back(stream, id, lane)
    elseif ending == 'p' then
      stage(string.sub(stream, 3), lane, id, true)
      release(lane, now + ms)
    else
      if ending == 'x' then bury(id, ARGV[i + 6], ARGV[i + 7]) else delay(id, ms, ending == 'r') end
      release(lane)
    end
  end
end

if #done > 0 then
  redis.call('HDEL', jobs, unpack(done))
  redis.call('LPUSH', P .. 'done', unpack(log))
  redis.call('LTRIM', P .. 'done', 0, 99)
end
for ending, count in pairs(counts) do redis.call('HINCRBY', P .. 'stat', ending, count) end
local answer = table.concat(answers)
redis.call('HSET', P .. 'op', me, call .. answer)
return answer
