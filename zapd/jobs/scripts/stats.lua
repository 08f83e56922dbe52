-- Answers {waiting, active, delayed, staged, dead, completed, failed, oldest ready ms or 0, paused, ids of active jobs,
-- whether it holds all that was added, all that ever came, all that died, all that went to quarantine, tenants at
-- their limits}.
local active, delayed = redis.call('HLEN', P .. 'a'), redis.call('ZCARD', P .. 'd')
local waiting = -(tonumber(redis.call('HGET', P .. 'meta', 'void')) or 0)
local oldest

local function older(ms)
  if ms and ms <= now and (not oldest or ms < oldest) then oldest = ms end
end

for _, level in ipairs(levels()) do
  for _, stream in ipairs({'b:' .. level, 'r:' .. level}) do
    local length = redis.pcall('XLEN', P .. stream)
    if type(length) == 'number' and length > 0 then
      waiting = waiting + length
      older(tonumber(string.match(redis.call('XRANGE', P .. stream, '-', '+', 'COUNT', 1)[1][1], '^%d+')))
    end
  end
  older(tonumber(redis.call('ZRANGE', P .. 'e:' .. level, 0, 0, 'WITHSCORES')[2]))
end
for _, kind in ipairs(redis.call('HKEYS', P .. 'pk')) do waiting = waiting + redis.call('LLEN', P .. 'k:' .. kind) end
local aside = redis.call('HMGET', P .. 'meta', 'aside', 'held')
waiting = math.max(0, waiting + (tonumber(aside[1]) or 0))
local staged = math.max(0, redis.call('HLEN', jobs) - active - delayed - waiting)
local counts = redis.call('HMGET', P .. 'stat', 'd', 'r', 'x', 'in', 'quarantined')
return {waiting, active, delayed, staged, redis.call('ZCARD', P .. 'x'), tonumber(counts[1]) or 0,
  (tonumber(counts[2]) or 0) + (tonumber(counts[3]) or 0), math.floor(oldest or 0),
  redis.call('HEXISTS', P .. 'meta', 'paused'), redis.call('HKEYS', P .. 'a'),
  redis.call('HEXISTS', P .. 'meta', 'whole'), tonumber(counts[4]) or 0, tonumber(counts[3]) or 0,
  tonumber(counts[5]) or 0, tonumber(aside[2]) or 0}
