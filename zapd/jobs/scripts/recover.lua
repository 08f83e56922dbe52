-- flags: allow-oom
-- ARGV: consumer, number of its last claim, then the ids that it really runs.
-- Puts back what an answer that never arrived had claimed, and voids that claim should it still be on its way.
local me, known = ARGV[1] .. '|', {}
for i = 3, #ARGV do known[ARGV[i]] = true end
redis.call('HSET', P .. 'op', ARGV[1] .. ' claim', ARGV[2])
local found = {}
local held = redis.call('HGETALL', P .. 'a')
for i = 1, #held, 2 do
  if string.sub(held[i + 1], 1, #me) == me and not known[held[i]] then
    local stream, entry = string.match(held[i + 1], '|([^|]*)|([^|]*)$')
    found[#found + 1] = {stream = stream, entry = entry, id = held[i]}
  end
end
table.sort(found, function(x, y) return x.entry > y.entry end) -- newest first, so that lanes keep their order
for _, claim in ipairs(found) do
  local job = parse(redis.call('HGET', jobs, claim.id) or '')
  drop_entry(claim.stream, claim.entry, claim.id)
  put_back(claim.stream, claim.id, job and job.lane or '')
end
return #found
