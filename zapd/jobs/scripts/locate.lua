-- ARGV: ids. Answers one letter per id: l live (waiting, active, delayed or staged), d dead, m missing.
local found = {}
for i, id in ipairs(ARGV) do
  if redis.call('HEXISTS', jobs, id) == 1 then found[i] = 'l'
  else found[i] = redis.call('HEXISTS', P .. 'xj', id) == 1 and 'd' or 'm' end
end
return table.concat(found)
