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
    local job = parse(redis.call('HGET', jobs, held[i]) or '')
    found[#found + 1] = {id = held[i], number = tonumber(string.sub(held[i + 1], #me + 1)), job = job}
  end
end
put_all_back(found)
return #found
