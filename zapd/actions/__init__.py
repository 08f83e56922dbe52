"""What the jobs of an operator's own queues do: nothing, a signed POST, or a Python callable."""
