-- ARGV: HSCAN cursor, about how many. Answers {next cursor, {id, tenant, …}} of live jobs that do not run now.
local page = redis.call('HSCAN', jobs, ARGV[1], 'COUNT', ARGV[2])
local found = {}
for i = 1, #page[2], 2 do
  local id, job = page[2][i], parse(page[2][i + 1])
  if redis.call('HEXISTS', P .. 'a', id) == 0 then
    found[#found + 1] = id
    found[#found + 1] = job and job.tenant or ''
  end
end
return {page[1], found}
