-- flags: allow-oom
-- ARGV: id, its claim, 1 or 0. While it is set, the death of the claim's daemon counts for no crash of the job, which
-- has not begun.
if ARGV[3] == '1' then
  redis.call('HSET', P .. 'sp', ARGV[1], ARGV[2])
  redis.call('PEXPIRE', P .. 'sp', 60000)
else
  redis.call('HDEL', P .. 'sp', ARGV[1])
end
return 1
