-- ARGV: ms to keep notes, most lines, then per job id, progress, error ('' leaves each), number of lines, the lines.
local keep, most, i = ARGV[1], tonumber(ARGV[2]), 3
while i <= #ARGV do
  local id, progress, error, lines = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  if progress ~= '' then redis.call('HSET', P .. 'n:' .. id, 'p', progress, 'at', whole(math.floor(now))) end
  if error ~= '' then redis.call('HSET', P .. 'n:' .. id, 'e', error) end
  redis.call('PEXPIRE', P .. 'n:' .. id, keep)
  if lines > 0 then
    for n = i + 4, i + 3 + lines do redis.call('RPUSH', P .. 'lg:' .. id, ARGV[n]) end
    redis.call('LTRIM', P .. 'lg:' .. id, -most, -1)
    redis.call('PEXPIRE', P .. 'lg:' .. id, keep)
  end
  i = i + 4 + lines
end
return 1
