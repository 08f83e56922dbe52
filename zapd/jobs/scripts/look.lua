-- ARGV: ids. Answers {state, blob or letter, due or dead ms} of each; the state of an unknown one is `missing`.
local found = {}
for _, id in ipairs(ARGV) do
  local blob = redis.call('HGET', jobs, id)
  local due = blob and redis.call('ZSCORE', P .. 'd', id)
  local job = blob and parse(blob)
  if not blob then
    local letter = redis.call('HGET', P .. 'xj', id)
    found[#found + 1] = {letter and 'dead' or 'missing', letter or '', redis.call('ZSCORE', P .. 'x', id) or '0'}
  elseif redis.call('HEXISTS', P .. 'a', id) == 1 then found[#found + 1] = {'active', blob, '0'}
  elseif due then found[#found + 1] = {'delayed', blob, due}
  elseif job and job.lane ~= '' then found[#found + 1] = {'staged', blob, '0'}
  else found[#found + 1] = {'waiting', blob, '0'} end
end
return found
