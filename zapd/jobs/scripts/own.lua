-- flags: allow-oom
-- ARGV: version, ms to keep it, then per tenant its name and "rate|burst|cap". The tenants' own limits, see queue.lua.
local key = W .. 'own:' .. ARGV[1]
for i = 3, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', key, ARGV[2])
return 1
