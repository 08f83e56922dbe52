-- ARGV: ids. Answers {state, blob or letter, due or dead ms} of each; of a completed one what `done` has of it instead.
-- The state of an unknown one is `missing`.
local found, completed = {}, nil

local function gone(id) -- dead, just completed, or unknown
  local letter = redis.call('HGET', P .. 'xj', id)
  if letter then return {'dead', letter, redis.call('ZSCORE', P .. 'x', id) or '0'} end
  completed = completed or redis.call('LRANGE', P .. 'done', 0, -1)
  for _, line in ipairs(completed) do
    if string.sub(line, -#id - 1) == '|' .. id then return {'completed', line, '0'} end
  end
  return {'missing', '', '0'}
end

for _, id in ipairs(ARGV) do
  local blob = redis.call('HGET', jobs, id)
  local due = blob and redis.call('ZSCORE', P .. 'd', id)
  local job = blob and parse(blob)
  if not blob then found[#found + 1] = gone(id)
  elseif redis.call('HEXISTS', P .. 'a', id) == 1 then found[#found + 1] = {'active', blob, '0'}
  elseif due then found[#found + 1] = {'delayed', blob, due}
  elseif job and job.lane ~= '' then found[#found + 1] = {'staged', blob, '0'}
  else found[#found + 1] = {'waiting', blob, '0'} end
end
return found
