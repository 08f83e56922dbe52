-- ARGV: first, last. Answers the records that lie in quarantine, the newest first; see `qr` in queue.lua.
return redis.call('LRANGE', P .. 'qr', ARGV[1], ARGV[2])
