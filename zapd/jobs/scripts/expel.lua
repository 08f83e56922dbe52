-- flags: allow-oom
-- ARGV: id. A job that nobody put here: out of the queue and, bytes and all, into quarantine. Answers 1 when it was
-- there and does not run.
local id = ARGV[1]
local blob = redis.call('HGET', jobs, id)
if not blob or redis.call('HEXISTS', P .. 'a', id) == 1 then return 0 end
take_out(id, parse(blob))
redis.call('HDEL', jobs, id)
quarantine('jobs', '-', {id, blob})
return 1
