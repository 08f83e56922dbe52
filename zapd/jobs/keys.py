"""The names of the Redis keys. Scripts derive a queue's other keys from `jobs`; their map is in `scripts/queue.lua`."""

PREFIX = "zapd1"


def key(queue: str, name: str, prefix: str = PREFIX) -> str:
    """A key of the queue, such as `d` or `r:5`. The braces make one Redis Cluster slot of all keys of a queue."""
    return f"{prefix}:{{q:{queue}}}:{name}"


def of_all(prefix: str = PREFIX) -> str:
    """The key that stands for the limits over all queues; scripts derive the others from it."""
    return f"{prefix}:{{all}}:g"
