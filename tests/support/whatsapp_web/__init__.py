"""WhatsApp on the loopback, for the stock neonize wheel: a server, and the wrapper that points the wheel at it.

Noise, Signal and the binary codec come from pywhats, which is independent of neonize's whatsmeow; so both ends agree on
the protocol and not on a mistake of one of them.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # "unaudited": so it may be, for the other side of a test
    import pywhats.signal.experimental as _experimental

_ = _experimental
