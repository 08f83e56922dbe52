-- flags: allow-oom
-- ARGV: id, 1 to stop it also while it runs. Answers 1 when it waited or was delayed and is gone, 2 when it runs and its
-- daemon will hear of it, else 0.
local id = ARGV[1]
local blob = redis.call('HGET', jobs, id)
if not blob then return 0 end
local claim = redis.call('HGET', P .. 'a', id)
if claim then
  if ARGV[2] ~= '1' then return 0 end
  redis.call('HSET', P .. 'cx', id, claim)
  redis.call('PEXPIRE', P .. 'cx', 60000)
  return 2
end
take_out(id, parse(blob))
redis.call('HDEL', jobs, id)
redis.call('HINCRBY', P .. 'stat', 'canceled', 1)
return 1
