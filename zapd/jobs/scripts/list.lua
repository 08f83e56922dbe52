-- ARGV: state, cursor ('' for the first page), most. Answers {ids, next cursor or ''}.
-- Completed ones come as `done` has them. A page may hold fewer than asked for though there are more.
local state, after, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local found, cursor = {}, ''

local function by_rank(command, key)
  local from = tonumber(after) or 0
  found = redis.call(command, P .. key, from, from + most - 1)
  if #found == most then cursor = tostring(from + most) end
end

local function set_aside(id, job) -- of a kind that is paused, or of a tenant at its limit
  return redis.call('ZSCORE', P .. 'th:' .. job.priority .. ':' .. job.tenant, 'j' .. id)
    or redis.call('HEXISTS', P .. 'pk', job.kind) == 1 and redis.call('LPOS', P .. 'k:' .. job.kind, id)
end

local function waiting_aside() -- the cursor is "s/" and HSCAN's
  local page = redis.call('HSCAN', jobs, string.match(after, '^s/(%d+)$') or 0, 'COUNT', most)
  if page[1] ~= '0' then cursor = 's/' .. page[1] end
  for i = 1, #page[2], 2 do
    local job = parse(page[2][i + 1])
    if job and job.lane == '' and set_aside(page[2][i], job) then found[#found + 1] = page[2][i] end
  end
end

local function waiting() -- the cursor is "<stream>/<entry>", until those are through
  if string.sub(after, 1, 2) == 's/' then return waiting_aside() end
  local from_stream, from_entry = string.match(after, '^(.-)/(.*)$')
  for _, level in ipairs(levels()) do
    for _, stream in ipairs({'b:' .. level, 'r:' .. level}) do
      local room = most - #found
      if room > 0 and (not from_stream or from_stream == stream) then
        local entries = redis.call('XRANGE', P .. stream, from_stream and '(' .. from_entry or '-', '+', 'COUNT', room)
        from_stream = nil
        for _, entry in ipairs(entries) do
          local id = entry[2][2]
          local here = id and redis.call('HEXISTS', P .. 'a', id) == 0 and redis.call('HGET', jobs, id)
          if here and (string.match(here, PLACE) or level) == level then
            found[#found + 1] = id
          end
        end
        if #entries == room then
          cursor = stream .. '/' .. entries[#entries][1]
          return
        end
      end
    end
  end
  local aside = redis.call('HMGET', P .. 'meta', 'aside', 'kinds')
  if (tonumber(aside[1]) or 0) + (tonumber(aside[2]) or 0) == 0 then return end
  if #found == 0 then waiting_aside() else cursor = 's/0' end
end

local function staged() -- the cursor is HSCAN's
  local page = redis.call('HSCAN', jobs, tonumber(after) or 0, 'COUNT', most)
  if page[1] ~= '0' then cursor = page[1] end
  for i = 1, #page[2], 2 do
    local id, job = page[2][i], parse(page[2][i + 1])
    local elsewhere = redis.call('HEXISTS', P .. 'a', id) == 1 or redis.call('ZSCORE', P .. 'd', id)
    if job and job.lane ~= '' and not elsewhere then found[#found + 1] = id end
  end
end

local function active()
  local ids = redis.call('HKEYS', P .. 'a')
  table.sort(ids)
  for _, id in ipairs(ids) do
    if id > after and #found < most then found[#found + 1] = id end
  end
  if #found == most then cursor = found[most] end
end

if state == 'waiting' then waiting()
elseif state == 'staged' then staged()
elseif state == 'active' then active()
elseif state == 'delayed' then by_rank('ZRANGE', 'd')
elseif state == 'dead' then by_rank('ZREVRANGE', 'x')
elseif state == 'completed' then by_rank('LRANGE', 'done') end
return {found, cursor}
