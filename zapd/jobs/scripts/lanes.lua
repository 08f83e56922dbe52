-- ARGV: cursor ('' for the first page), most. Answers {lanes, next cursor or ''}; each lane is {name, staged, in flight,
-- ms from which its next may start or 0, paused, rate, burst, cap}. The first page begins with what is paused or runs;
-- then come those that have jobs, in the order of their turns. A page may hold fewer than asked for.
local after, most = ARGV[1], tonumber(ARGV[2])
local names, seen, cursor = {}, {}, ''

local function add(name)
  if name and name ~= '' and not seen[name] then
    seen[name] = true
    names[#names + 1] = name
  end
end

local function show(name)
  local s, staged = lane_state(name), 0
  for _, level in ipairs(levels()) do staged = staged + redis.call('LLEN', P .. 'l:' .. level .. ':' .. name) end
  local from = math.max(s.next, s.parked)
  return {name, staged, s.flying, from > now and math.ceil(from) or 0, s.paused and 1 or 0, tostring(s.rate or ''),
    tostring(s.burst or ''), tostring(s.cap or '')}
end

if after == '' then
  for _, name in ipairs(redis.call('SMEMBERS', P .. 'pz')) do add(name) end
  local running = redis.call('HKEYS', P .. 'a')
  for i = 1, math.min(#running, 1000) do
    local blob = redis.call('HGET', jobs, running[i])
    add(blob and select(3, string.match(blob, PLACE)))
  end
end
local at, from = string.match(after, '^(%d+):(%d+)$')
at, from = tonumber(at) or 1, tonumber(from) or 0
while levels()[at] and #names < most do
  local some = redis.call('ZRANGE', P .. 'e:' .. levels()[at], from, from + most - 1)
  for _, name in ipairs(some) do add(name) end
  if #some < most then at, from = at + 1, 0 else from = from + most end
end
if levels()[at] then cursor = at .. ':' .. from end
local shown = {}
for i, name in ipairs(names) do shown[i] = show(name) end
return {shown, cursor}
