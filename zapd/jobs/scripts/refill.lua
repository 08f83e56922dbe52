-- All jobs are added again from now on: see `enqueue`.
return redis.call('HSET', P .. 'meta', 'whole', 1)
