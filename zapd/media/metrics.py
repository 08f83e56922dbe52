"""What is counted of files."""

from prometheus_client import CollectorRegistry, Counter

ORIGINS = ("upload", "url", "received")


class MediaMetrics:
    """By where a file came from."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        stored = Counter("zapd_media_stored", "Files that were taken in.", ["origin"], registry=registry)
        size = Counter("zapd_media_stored_bytes", "Bytes of files that were taken in.", ["origin"], registry=registry)
        refused = Counter(
            "zapd_media_refused", "Files that broke a rule or did not come.", ["origin"], registry=registry
        )
        self._stored = {origin: stored.labels(origin) for origin in ORIGINS}
        self._bytes = {origin: size.labels(origin) for origin in ORIGINS}
        self._refused = {origin: refused.labels(origin) for origin in ORIGINS}

    def stored(self, origin: str, size: int) -> None:
        """A file is on disk and its row committed."""
        self._stored[origin].inc()
        self._bytes[origin].inc(size)

    def refused(self, origin: str) -> None:
        """A file was not taken, or will not come."""
        self._refused[origin].inc()
