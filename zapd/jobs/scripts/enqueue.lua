-- ARGV: 1 when what was added before must still be here, then per job id, blob, level, lane, due ms (0: at once).
-- Answers one digit per job: 0 there already, 1 added, 2 added behind others of its lane, for whose turn somebody waits
-- already; or nil, and adds nothing, when the queue lost what was added before. A job with the id of a dead one takes its
-- place: the dead letter goes.
if ARGV[1] == '1' and redis.call('HEXISTS', P .. 'meta', 'whole') == 0 then return nil end
local dead = redis.call('ZCARD', P .. 'x') > 0
local answers, count = {}, 0
for i = 2, #ARGV, 5 do
  local id, level, lane, due = ARGV[i], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4])
  local digit = redis.call('HSETNX', jobs, id, ARGV[i + 1])
  if digit == 1 then
    count = count + 1
    if due > now then write('ZADD', 'd', due, id)
    elseif not place(level, lane, id) then digit = 2 end
    if dead and redis.call('ZREM', P .. 'x', id) == 1 then redis.call('HDEL', P .. 'xj', id) end
  end
  answers[#answers + 1] = digit
end
if count > 0 then redis.call('HINCRBY', P .. 'stat', 'in', count) end
return table.concat(answers)
