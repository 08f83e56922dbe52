-- flags: allow-oom
-- ARGV: id. Answers 1 when it waited or was delayed and is gone, else 0.
-- Its stream entry stays until a claimer meets it and throws it away.
local id = ARGV[1]
local blob = redis.call('HGET', jobs, id)
if not blob or redis.call('HEXISTS', P .. 'a', id) == 1 then return 0 end
take_out(id, parse(blob))
redis.call('HDEL', jobs, id)
redis.call('HINCRBY', P .. 'stat', 'canceled', 1)
return 1
