-- Answers {whether the queue is paused, its paused kinds, its paused lanes}.
local kinds, all = {}, redis.call('HGETALL', P .. 'pk')
for i = 1, #all, 2 do
  if all[i + 1] == 'p' then kinds[#kinds + 1] = all[i] end
end
return {redis.call('HEXISTS', P .. 'meta', 'paused'), kinds, redis.call('SMEMBERS', P .. 'pz')}
