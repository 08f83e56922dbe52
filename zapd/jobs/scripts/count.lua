-- flags: allow-oom
-- ARGV: consumer, ms after which a job cannot run any more. What it runs counts as in flight of its tenants: it may have
-- been claimed while they had no such limit. Answers how many are new.
local mine, counted = ARGV[1] .. '|', 0
local held = redis.call('HGETALL', P .. 'a')
for i = 1, #held, 2 do
  local job = string.sub(held[i + 1], 1, #mine) == mine and parse(redis.call('HGET', jobs, held[i]) or '')
  if job then
    local key = W .. 'f:' .. job.tenant
    counted = counted + redis.call('ZADD', key, 'NX', now + ARGV[2], P .. held[i])
    redis.call('PEXPIRE', key, ARGV[2] + 1000)
  end
end
return counted
