-- flags: allow-oom
-- ARGV: ms to keep completed, ms to keep dead, most dead. Answers {completed, dead} taken away, at most 500 dead.
-- A queue that holds no job loses its streams, so that a level once used costs nothing for ever.
local completed = 0
while true do
  local oldest = redis.call('LINDEX', P .. 'done', -1)
  if not oldest or tonumber(string.match(oldest, '^%d+')) > now - ARGV[1] then break end
  redis.call('RPOP', P .. 'done')
  completed = completed + 1
end
local old = redis.call('ZRANGEBYSCORE', P .. 'x', '-inf', now - ARGV[2], 'LIMIT', 0, 500)
local excess = math.min(500, redis.call('ZCARD', P .. 'x') - tonumber(ARGV[3]))
if excess > #old then old = redis.call('ZRANGE', P .. 'x', 0, excess - 1) end
if #old > 0 then
  redis.call('ZREM', P .. 'x', unpack(old))
  redis.call('HDEL', P .. 'xj', unpack(old))
end
local left, streams = 0, {}
for _, level in ipairs(levels()) do
  for _, stream in ipairs({'b:' .. level, 'r:' .. level}) do
    left = left + redis.call('XLEN', P .. stream)
    streams[#streams + 1] = P .. stream
  end
end
local void = tonumber(redis.call('HGET', P .. 'meta', 'void')) or 0
if redis.call('HLEN', jobs) == 0 and left == void then -- else a claim has yet to see what lies there
  for _, level in ipairs(levels()) do
    for _, name in ipairs(redis.call('ZRANGE', P .. 'tw:' .. level, 0, -1)) do
      redis.call('DEL', P .. 'th:' .. level .. ':' .. name)
    end
    redis.call('DEL', P .. 'e:' .. level, P .. 'tw:' .. level)
  end
  if #streams > 0 then redis.call('DEL', unpack(streams)) end
  redis.call('DEL', P .. 'lv', P .. 'a', P .. 'd', P .. 'gone')
  redis.call('HDEL', P .. 'meta', 'void', 'credit', 'turn', 'held', 'aside')
end
return {completed, #old}
