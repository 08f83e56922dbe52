-- flags: allow-oom
-- ARGV: consumer. A consumer that still holds jobs is kept, without heartbeat: the next reclaim takes them.
local me, holds = ARGV[1], false
for _, level in ipairs(levels()) do
  for _, stream in ipairs({'b:' .. level, 'r:' .. level}) do
    local held = redis.pcall('XPENDING', P .. stream, 'w', '-', '+', 1, me)
    if held[1] then holds = true
    elseif not held.err then redis.call('XGROUP', 'DELCONSUMER', P .. stream, 'w', me) end
  end
end
redis.call('ZREM', P .. 'hb', me)
if not holds then redis.call('HDEL', P .. 'op', me, me .. ' claim') end
return holds and 1 or 0
