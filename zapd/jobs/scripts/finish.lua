-- flags: allow-oom
-- ARGV: consumer, name of this call, then per job id, number of its claim, lane, ending, detail.
-- Endings and their detail: d done ("attempt|ms it took|tenant"); r retry, s snooze, p snooze and park the lane (delay ms;
-- "delay ms|rate of lanes|burst of lanes" gives the start back to the lane's rate);
-- x dead (reason, line break, error); h hand back; c canceled.
-- Answers one digit per job: 1 taken, 0 refused because the claim is not (any more) this consumer's.
-- The same call again, after its answer was lost, gets the same answer and changes nothing.
local me, call = ARGV[1], ARGV[2] .. '|'
local last = redis.call('HGET', P .. 'op', me)
if last and string.sub(last, 1, #call) == call then return string.sub(last, #call + 1) end

local ids = {}
for i = 3, #ARGV, 5 do ids[#ids + 1] = ARGV[i] end
local held = redis.call('HMGET', P .. 'a', unpack(ids))

local answers, mine, seen = {}, {}, {}
for n, id in ipairs(ids) do
  local ours = held[n] == me .. '|' .. ARGV[5 * n - 1] and not seen[id]
  answers[n] = ours and 1 or 0
  if ours then
    seen[id] = true
    mine[#mine + 1] = id
  end
end
-- This goes first: a full Redis 6.2 lets a script go on once it has written something that frees memory.
if #mine > 0 then redis.call('HDEL', P .. 'a', unpack(mine)) end

if W and #mine > 0 then -- before the jobs are gone: only they say whose they are
  for n, blob in ipairs(redis.call('HMGET', jobs, unpack(mine))) do
    local _, _, _, whose = string.match(blob or '', PLACE .. '([^|\n]*)\n')
    if whose then let_go(mine[n], whose) end
  end
end

local function delay(id, job, ms, failed)
  if failed then job.attempt = job.attempt + 1 end
  local due = math.ceil(now + ms)
  if job.back == '0' then job.back = whole(math.max(1, job.created, job.due)) end -- its deadline counts from there
  job.due = whole(due)
  save(id, job)
  write('ZADD', 'd', due, id)
end

local function bury(id, blob, letter)
  redis.call('HSET', P .. 'xj', id, letter .. '\n' .. blob)
  redis.call('ZADD', P .. 'x', now, id)
  redis.call('HDEL', jobs, id)
end

local function end_other(id, lane, ending, detail)
  local blob = redis.call('HGET', jobs, id) or ''
  local job = parse(blob)
  if ending == 'h' then return put_back(id, job, lane) end
  local ms, rate, burst = string.match(detail, '^(%d+)|([%d.]+)|(%d+)$')
  local back = ms and ending ~= 'x' and {rate = tonumber(rate), burst = tonumber(burst)}
  detail = back and ms or detail
  if ending == 'p' and job and lane ~= '' then -- without a lane it is a snooze
    stage(job.priority, lane, id, true)
    return release(lane, now + detail, back)
  end
  if ending == 'c' then redis.call('HDEL', jobs, id)
  elseif ending == 'x' and blob ~= '' then bury(id, blob, detail)
  elseif ending ~= 'x' and job then delay(id, job, detail, ending == 'r') end
  release(lane, nil, back)
end

local done, log, counts, stamp = {}, {}, {}, whole(math.floor(now)) .. '|'
local KEPT = 100 -- completed ones
for n, id in ipairs(ids) do
  if answers[n] == 1 then
    local i = 5 * n
    local lane, ending, detail = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    counts[ending] = (counts[ending] or 0) + 1
    if ending == 'd' then
      done[#done + 1] = id
      log[(#done - 1) % KEPT + 1] = stamp .. detail .. '|' .. id
      release(lane)
    else
      end_other(id, lane, ending, detail)
    end
  end
end

if #done > 0 then
  redis.call('HDEL', jobs, unpack(done))
  redis.call('LPUSH', P .. 'done', unpack(log))
  redis.call('LTRIM', P .. 'done', 0, KEPT - 1)
end
for ending, count in pairs(counts) do redis.call('HINCRBY', P .. 'stat', ending, count) end
local answer = table.concat(answers)
redis.call('HSET', P .. 'op', me, call .. answer)
return answer
