"""Jobs that Redis knows and that wait in none of its keys, because somebody deleted one: they wait again."""

import asyncio

from zapd.jobs.broker import Broker
from zapd.jobs.job import Job

_MOST = 200_000  # ids of one look; the next look finds the others
_BATCH = 500


class Astray:
    """What one look over all jobs found, the oldest first."""

    def __init__(self) -> None:
        self._free: dict[str, list[str]] = {}
        self._laned: dict[str, list[str]] = {}
        self._count = 0

    def add(self, job: Job) -> None:
        """One more."""
        if self._count < _MOST:
            self._count += 1
            (self._laned if job.lane else self._free).setdefault(job.queue, []).append(job.id)

    async def bring_back(self, broker: Broker, *, per_second: float) -> int:
        """First in line, in the order in which they were found. Returns how many. Raises Unavailable.

        Those of lanes the last first, each in front of the one before: what came since stands behind them all.
        """
        brought = 0
        for queues, step in ((self._free, 1), (self._laned, -1)):
            for queue, ids in queues.items():
                ordered = ids[::step]
                for start in range(0, len(ordered), _BATCH):
                    found = await broker.bring_back(queue, ordered[start : start + _BATCH])
                    brought += found
                    await asyncio.sleep(found / per_second)
        return brought
