"""What is measured of the worker processes of WhatsApp Web."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from zapd.telemetry.numbers import counter, gauge

REASONS = ("crashed", "hung", "grew", "retired", "unable")


class WorkerMetrics(Collector):
    """Numbers of all workers; the pool writes them."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.started = 0
        self._ended = dict.fromkeys(REASONS, 0)
        self._homes: Mapping[int, tuple[int, int]] = {}
        registry.register(self)

    def ended(self, reason: str) -> None:
        """A worker ended that should not have."""
        self._ended[reason] += 1

    def homes(self, homes: Mapping[int, tuple[int, int]]) -> None:
        """The workers that run: by process id, its memory in bytes and its accounts."""
        self._homes = homes

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        yield gauge("zapd_web_workers", "Worker processes of WhatsApp Web.", (), {(): len(self._homes)})
        accounts = sum(accounts for _, accounts in self._homes.values())
        yield gauge("zapd_web_worker_sessions", "Sessions in these processes.", (), {(): accounts})
        memory = sum(memory for memory, _ in self._homes.values())
        yield gauge("zapd_web_worker_memory_bytes", "Resident memory of these processes.", (), {(): memory})
        largest = max((memory for memory, _ in self._homes.values()), default=0)
        yield gauge("zapd_web_worker_memory_largest_bytes", "Of the one that has most.", (), {(): largest})
        yield counter("zapd_web_worker_starts", "Worker processes that were started.", (), {(): self.started})
        ended: dict[tuple[str, ...], float] = {(reason,): count for reason, count in self._ended.items()}
        yield counter("zapd_web_worker_restarts", "Worker processes that ended too early.", ("reason",), ended)
