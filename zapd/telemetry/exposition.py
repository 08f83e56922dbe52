"""Renders the registry for `/metrics`."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Summary
from prometheus_client.exposition import choose_encoder

FRESH = 1.0  #: seconds for which a rendering is given out again
MAX_PAGES = 4  #: the scraper chooses the version in the content type: it must not fill the memory with them


@dataclass(frozen=True)
class _Page:
    body: bytes
    at: float


class Exposition:
    """The metrics as bytes: rendered in a thread, one rendering at a time, kept for a second.

    A thousand series take 20 ms to render; on the loop every request would wait for each scraper. Collectors that
    read the state of the loop are therefore called from that thread: they may copy, and must not change anything.
    """

    def __init__(self, *, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._pages: dict[str, _Page] = {}
        self._one_at_a_time = asyncio.Lock()
        self._seconds = Summary("zapd_scrape_duration_seconds", "Time to render the metrics.", registry=registry)

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """Body and content type: OpenMetrics or Prometheus text, by the `Accept` header."""
        encode, content_type = choose_encoder(accept)
        async with self._one_at_a_time:
            page = self._pages.get(content_type)
            if page is None or self._clock() - page.at >= FRESH:
                from prometheus_async import aio  # noqa: PLC0415  # loaded by the first scrape

                rendering: Awaitable[bytes] = asyncio.to_thread(encode, self._registry)
                page = _Page(await aio.time(self._seconds, rendering), self._clock())
                if len(self._pages) >= MAX_PAGES:
                    self._pages.clear()
                self._pages[content_type] = page
        return page.body, content_type
