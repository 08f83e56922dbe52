"""Files of messages."""

import os
from collections.abc import AsyncIterator

from zapd.media.downloads import DOWNLOAD, Download, Downloads
from zapd.media.fetch import Fetcher
from zapd.media.files import Files
from zapd.media.library import Library
from zapd.media.links import Links
from zapd.media.metrics import MediaMetrics
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.network import Network
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks


class Media:
    """What takes files in, keeps them and hands them out."""

    def __init__(
        self,
        basis: Basis,
        storage: Storage,
        network: Network,
        engine: Engine,
        webhooks: Webhooks,
        *,
        download: Download,
    ) -> None:
        config = basis.config.media
        self.metrics = MediaMetrics(registry=basis.registry)
        self.files = Files(directory=basis.config.media_dir, random_bytes=os.urandom)
        self.fetcher = Fetcher(resolver=network.resolver, timeout=config.fetch_timeout, at_once=config.fetches)
        self.library = Library(
            store=storage.media,
            files=self.files,
            fetcher=self.fetcher,
            commit=engine.outbox.commit,
            ids=basis.ids,
            now_ms=now_ms,
            max_size=config.max_size,
            metrics=self.metrics,
        )
        self.links = Links(
            keys=storage.data_keys, base_url=basis.config.public_url, lifetime=config.link_lifetime, now_ms=now_ms
        )
        self.downloads = Downloads(
            store=storage.media,
            files=self.files,
            links=self.links,
            download=download,
            announcer=webhooks.announcer,
            commit=engine.outbox.commit,
            new_id=basis.ids.new,
            now_ms=now_ms,
            priority=basis.config.queues[DOWNLOAD].priority,
            max_size=config.max_size,
            metrics=self.metrics,
        )

    async def fetched(self, url: str) -> AsyncIterator[bytes]:
        """The content of a URL that a provider told. Raises InvalidInput."""
        async with self.fetcher.get(url, field="url") as found:
            async for chunk in found.chunks:
                yield chunk
