"""Deletes what is past its retention, in slices: no table grows without bound, and no delete blocks the writer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from prometheus_client import CollectorRegistry, Counter

from zapd.jobs.job import Done, Job, Outcome

log = structlog.get_logger("zapd.janitor")


class Janitor:
    """The handler of maintenance:cleanup.

    `retention` maps a table's name to milliseconds; `purge(table, before)` deletes one slice and returns its size;
    `clean_queue(queue)` does the same for the ended jobs of a queue; `sweeps` look after what is not in a table.
    """

    def __init__(
        self,
        *,
        retention: Mapping[str, int],
        purge: Callable[[str, int], Awaitable[int]],
        queues: Sequence[str],
        clean_queue: Callable[[str], Awaitable[int]],
        sweeps: Sequence[Callable[[], Awaitable[int]]] = (),
        now_ms: Callable[[], int],
        registry: CollectorRegistry,
    ) -> None:
        self._retention = retention
        self._purge = purge
        self._queues = queues
        self._clean_queue = clean_queue
        self._sweeps = sweeps
        self._now_ms = now_ms
        deleted = Counter("zapd_retention_deleted", "Rows past their retention.", ["table"], registry=registry)
        self._deleted = {table: deleted.labels(table) for table in retention}

    async def clean(self, _job: Job) -> Outcome:
        """Clean every table and queue once. Safe to run again."""
        for table, keep_ms in self._retention.items():
            total = 0
            while slice_size := await self._purge(table, self._now_ms() - keep_ms):
                total += slice_size
                self._deleted[table].inc(slice_size)
            if total:
                log.info("retention.deleted", table=table, rows=total)
        for queue in self._queues:
            while await self._clean_queue(queue):
                pass
        for sweep in self._sweeps:
            while await sweep():
                pass
        return Done()
