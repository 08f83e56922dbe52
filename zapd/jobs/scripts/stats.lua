-- Answers {waiting, active, delayed, staged, dead, completed, failed, oldest ready ms or 0, paused, ids of active jobs,
-- whether it holds all that was added}.
local active, delayed, unread = redis.call('HLEN', P .. 'a'), redis.call('ZCARD', P .. 'd'), 0
local oldest

local function older(ms)
  if ms and ms <= now and (not oldest or ms < oldest) then oldest = ms end
end

local function head(stream) -- of the entries that nobody was given
  local groups = redis.pcall('XINFO', 'GROUPS', P .. stream)
  local last = not groups.err and groups[1] and groups[1][8]
  local entry = last and redis.call('XRANGE', P .. stream, '(' .. last, '+', 'COUNT', 1)[1]
  older(entry and tonumber(string.match(entry[1], '^%d+')))
end

for _, level in ipairs(levels()) do
  for _, stream in ipairs({'b:' .. level, 'r:' .. level}) do
    unread = unread + redis.call('XLEN', P .. stream)
    head(stream)
  end
  older(tonumber(redis.call('ZRANGE', P .. 'e:' .. level, 0, 0, 'WITHSCORES')[2]))
end
local waiting = math.max(0, unread - active)
local staged = math.max(0, redis.call('HLEN', jobs) - active - delayed - waiting)
local counts = redis.call('HMGET', P .. 'stat', 'd', 'r', 'x')
return {waiting, active, delayed, staged, redis.call('ZCARD', P .. 'x'), tonumber(counts[1]) or 0,
  (tonumber(counts[2]) or 0) + (tonumber(counts[3]) or 0), math.floor(oldest or 0),
  redis.call('HEXISTS', P .. 'meta', 'paused'), redis.call('HKEYS', P .. 'a'),
  redis.call('HEXISTS', P .. 'meta', 'whole')}
