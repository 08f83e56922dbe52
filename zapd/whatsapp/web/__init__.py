"""WhatsApp Web: accounts linked as a device, through neonize in child processes that a crash cannot leave.

neonize aborts its whole process on several calls, so the daemon never imports it. `pool.py` keeps workers, `process.py`
is one of them, `worker/` is what runs inside. `transport.py` is one account; `outgoing.py` and `inbound.py` turn our
payloads into WhatsApp's messages and back.
"""
