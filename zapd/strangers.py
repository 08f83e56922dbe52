"""Live jobs in Redis that no row of the outbox answers for: somebody else put them there. Into quarantine with them."""

import asyncio
from collections.abc import Callable

import structlog

from zapd.jobs.broker import Broker
from zapd.store.outbox import OutboxStore

log = structlog.get_logger("zapd.outbox")

AT_ONCE = 2000  #: live jobs of each queue that one look finds in SQL, or does not
PAGE = 500  #: of them are asked for together


class Strangers:
    """What the looks found. `ended` says of a tenant and id whether that job has ended: its row is about to go."""

    def __init__(self, *, rows: OutboxStore, broker: Broker, ended: Callable[[tuple[str, str]], bool]) -> None:
        self._rows = rows
        self._broker = broker
        self._ended = ended
        self._suspects: set[tuple[str, str]] = set()  # without a row at the last look: queue, id
        self._cursors: dict[str, str] = {}  # where the look at each queue goes on

    async def expel(self) -> int:
        """Look at some, and expel those that a second look finds so. Returns how many went. Raises Unavailable.

        One that has just ended, or is just being added, looks like a stranger for a moment.
        """
        found: set[tuple[str, str]] = set()
        expelled = 0
        for queue in self._broker.queues:
            jobs, self._cursors[queue] = await self._broker.settled(queue, self._cursors.get(queue, "0"), AT_ONCE)
            for start in range(0, len(jobs), PAGE):
                page = [job for job in jobs[start : start + PAGE] if not self._ended(job)]
                rows = await asyncio.gather(*[self._rows.get(tenant, job_id) for tenant, job_id in page])
                found.update((queue, job_id) for (_, job_id), row in zip(page, rows, strict=True) if row is None)
        for queue, job_id in found & self._suspects:
            expelled += await self._broker.expel(queue, job_id)
            log.error("outbox.stranger", queue=queue, job_id=job_id)
        self._suspects = found
        return expelled
