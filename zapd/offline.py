"""Does the event hub's jobs without a daemon: from the rows of the outbox, one after another, oldest first.

For those who run `zapd events process` from cron. SQL holds every job that must exist, so neither Redis nor a pool is
needed. What cannot be done here (WhatsApp messages) stays a row, for the daemon.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

import orjson

from zapd.events.envelope import PROCESS
from zapd.jobs.job import Discard, Done, Job, Outcome
from zapd.outbox import job_of
from zapd.store.commands import Row
from zapd.store.outbox import OutboxStore

PAGE = 500
MAX_JOBS = 10_000  #: of one run, beside the events


class Work(Protocol):
    """What the jobs of a queue do."""

    @property
    def handler(self) -> Callable[[Job], Awaitable[Outcome]]: ...
    @property
    def dead(self) -> Callable[[Job, str, str], Awaitable[None]]: ...


class Offline:
    """`work` by queue; `process(limit)` takes events through the rules; `pending(tenant, event)`: it still waits."""

    def __init__(
        self,
        *,
        rows: OutboxStore,
        commit: Callable[..., Awaitable[Row | None]],
        work: Mapping[str, Work],
        process: Callable[[int], Awaitable[int]],
        pending: Callable[[str, str], Awaitable[bool]],
        now_ms: Callable[[], int],
    ) -> None:
        self._rows = rows
        self._commit = commit
        self._work = work
        self._process = process
        self._pending = pending
        self._now_ms = now_ms

    async def run(self, events: int) -> dict[str, int]:
        """Take so many events through the rules, then do everything that is due. Returns what became of it."""
        counts = {"processed": await self._process(events) if events else 0, "done": 0, "failed": 0, "waiting": 0}
        seen: set[str] = set()
        while jobs := await self._due(seen):
            for job in jobs:
                seen.add(job.id)
                if job.kind == PROCESS:
                    await self._forget_settled(job)
                elif len(seen) <= MAX_JOBS:
                    counts[await self._one(job)] += 1
        return counts

    async def _one(self, job: Job) -> str:
        work = self._work[job.queue]
        try:
            outcome = await work.handler(job)
        except Exception:  # whatever it was, the others go on, and this one's row stays for the next run
            return "waiting"
        if isinstance(outcome, Discard):
            await work.dead(job, outcome.reason, outcome.error)
        elif not isinstance(outcome, Done):
            return "waiting"
        await self._commit(self._rows.removed(job.tenant, job.id))
        return "done" if isinstance(outcome, Done) else "failed"

    async def _forget_settled(self, job: Job) -> None:
        """An event that went through the rules needs its job no more."""
        if not await self._pending(job.tenant, orjson.loads(job.payload)["event_id"]):
            await self._commit(self._rows.removed(job.tenant, job.id))

    async def _due(self, seen: Collection[str]) -> list[Job]:
        """The jobs that may run now, in the order of their ids."""
        now, after = self._now_ms(), None
        found: list[Job] = []
        while True:
            page = await self._rows.scan(after=after, created_before=1 << 62, limit=PAGE)
            due = [row for row in page if row.queue in self._work and row.due_at <= now]
            found += [job_of(row) for row in due if row.id not in seen]
            if len(page) < PAGE:
                return found
            after = page[-1].id
