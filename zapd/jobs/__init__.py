"""The queue engine on Redis streams. The only package that speaks to Redis."""
