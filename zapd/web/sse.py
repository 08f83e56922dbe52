"""What every stream of server-sent events does: write to a viewer who may not read, and wait until the daemon drains.

`asyncio.wait_for` is not used: before Python 3.12 it can swallow a cancellation, and the stream would go on.
"""

import asyncio
from contextlib import suppress

from aiohttp import web

SLOW_VIEWER = 10.0  #: seconds a write may take before the stream is closed
HEARTBEAT_EVERY = 15.0  #: seconds of silence before a comment shows both sides that the line stands
HEARTBEAT = b": still here\n\n"


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Raises TimeoutError when the viewer does not read, ConnectionError when it is gone."""
    async with asyncio.timeout(SLOW_VIEWER):
        await response.write(data)


async def pause(draining: asyncio.Event, seconds: float) -> None:
    """Return after so long, or as soon as the daemon drains."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await draining.wait()
