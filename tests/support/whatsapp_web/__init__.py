"""WhatsApp on the loopback, for the stock neonize wheel: a server, and the wrapper that points the wheel at it.

Noise, Signal and the binary codec come from pywhats, which is independent of neonize's whatsmeow; so both ends agree on
the protocol and not on a mistake of one of them.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # "unaudited": so it may be, for the other side of a test
    from pywhats.binary import Node
    from pywhats.proto import Message as Content

__all__ = ["Content", "Node"]
