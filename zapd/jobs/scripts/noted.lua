-- ARGV: id. Answers {progress, ms when it told that, last error, lines}; '' for what it did not tell.
local told = redis.call('HMGET', P .. 'n:' .. ARGV[1], 'p', 'at', 'e')
return {told[1] or '', told[2] or '', told[3] or '', redis.call('LRANGE', P .. 'lg:' .. ARGV[1], 0, -1)}
