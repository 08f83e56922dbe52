"""What daemon and worker say to each other: one JSON object a line, over a socket that the worker inherits.

Standard output is not used for it, because the library below prints there. A request has `n`, and the reply repeats it;
everything else that a worker says is an event of one account (`sid`) or of the worker itself.
"""

from typing import Any

import orjson

Frame = dict[str, Any]

LIMIT = 32 * 1024 * 1024  #: bytes of one line; a message with everything in it has some hundred KiB


def encode(frame: Frame) -> bytes:
    """A line."""
    return orjson.dumps(frame, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def decode(line: bytes) -> Frame:
    """A line's frame. Raises ValueError."""
    frame = orjson.loads(line)
    if not isinstance(frame, dict):
        raise ValueError("not a frame")
    return frame
