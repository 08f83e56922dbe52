-- ARGV: `retry` | `drop`, id, priority ('' keeps it). Answers 1 when the id was dead.
local verb, id, priority = ARGV[1], ARGV[2], ARGV[3]
local letter = redis.call('HGET', P .. 'xj', id)
if not letter then return 0 end
redis.call('HDEL', P .. 'xj', id)
redis.call('ZREM', P .. 'x', id)
local job = verb == 'retry' and parse(string.match(letter, '^[^\n]*\n[^\n]*\n(.*)$'))
if job and redis.call('HEXISTS', jobs, id) == 0 then
  job.attempt, job.crashes, job.due, job.back = 1, 0, whole(math.floor(now)), 0
  if priority ~= '' then job.priority = priority end
  save(id, job)
  place(job.priority, job.lane, id)
end
return 1
