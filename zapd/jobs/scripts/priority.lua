-- ARGV: id, level. Moves a job that waits or is delayed; behind those that wait there already.
-- Answers 1 when it has that level now, 0 when it runs, -1 when there is none.
local id, level = ARGV[1], ARGV[2]
local blob = redis.call('HGET', jobs, id)
local job = blob and parse(blob)
if not job then return -1 end
if job.priority == level then return 1 end
if redis.call('HEXISTS', P .. 'a', id) == 1 then return 0 end
local place_before = take_out(id, job)
job.priority = level
save(id, job)
if place_before == 'd' then redis.call('ZADD', P .. 'd', job.due, id)
elseif place_before == 'k' then redis.call('RPUSH', P .. 'k:' .. job.kind, id)
else place(level, job.lane, id) end
return 1
