-- All jobs are added again from now on: see `enqueue`. ARGV: 1 when the queue was paused. Answers 1 when what was added
-- before is lost. Then the pause is lost as well, and is there again before the first job is.
local lost = redis.call('HSETNX', P .. 'meta', 'whole', 1)
if lost == 1 and ARGV[1] == '1' then redis.call('HSET', P .. 'meta', 'paused', 1) end
return lost
