"""Jobs that were given up: written down in SQL before Redis hears of it, read, mended, run again, dropped.

The letter and the end of the job's outbox row are one commit, so a job is always in one of the two, whatever becomes of
Redis. After a crash between that commit and Redis the job is claimed once more; it is then told that it is dead.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import orjson
import structlog

from zapd.errors import Conflict, FieldError, InvalidInput, NotFound, Unavailable
from zapd.jobs.job import Discard, Handler, Job, Outcome
from zapd.jobs.verdict import OnDead
from zapd.model.dead_letter import DeadFilter, DeadLetter
from zapd.store.commands import Change, Row
from zapd.store.dead_letters import DeadLetterStore, Place, place
from zapd.store.outbox import OutboxStore

log = structlog.get_logger("zapd.dead_letters")

STEP = 200  #: letters read, or run again, at once


class Again(Protocol):
    """Runs the thing again that a dead job was about. Raises Conflict or NotFound when it moved on."""

    async def __call__(self, tenant: str, payload: bytes, /) -> object: ...


class DeadLetters:
    """`again` has the queues whose jobs are about a thing with a state of its own, a message or a delivery.

    `own` are the queues whose payloads a person may edit. `kept` maps a queue to the milliseconds that its letters are
    kept; `drop(queue, id)` forgets the dead job in Redis; `rate()` is how many may start again per second (None: all).
    """

    def __init__(
        self,
        *,
        rows: DeadLetterStore,
        outbox_rows: OutboxStore,
        commit: Callable[..., Awaitable[Row | None]],
        drop: Callable[[str, str], Awaitable[bool]],
        again: Mapping[str, Again],
        own: frozenset[str],
        kept: Mapping[str, int],
        rate: float | None,
        now_ms: Callable[[], int],
    ) -> None:
        self._rows = rows
        self._outbox_rows = outbox_rows
        self._commit = commit
        self._drop = drop
        self._again = again
        self._own = own
        self._kept = kept
        self._rate = rate
        self._now_ms = now_ms

    # --- a job dies ---

    def after(self, dead: OnDead) -> OnDead:
        """What the pool calls: first whoever the job is about, then the letter."""

        async def told(job: Job, reason: str, error: str) -> None:
            await dead(job, reason, error)
            await self.bury(job, reason, error)

        return told

    def before(self, handler: Handler) -> Handler:
        """Does not run a job again that was given up just before its daemon died."""

        async def looked_up(job: Job) -> Outcome:
            letter = await self._rows.get(job.tenant, job.id)
            # One of an earlier life of the id does not count: this job was made after it died.
            if letter is not None and letter.queue == job.queue and letter.created_at == job.created_at:
                return Discard(letter.reason, letter.error)
            return await handler(job)

        return lambda job: looked_up(job) if job.crashes > 0 else handler(job)

    async def bury(self, job: Job, reason: str, error: str) -> None:
        """Write the letter. Raises Unavailable: then the job is not dead yet."""
        letter = DeadLetter(
            tenant=job.tenant,
            queue=job.queue,
            id=job.id,
            kind=job.kind,
            lane=job.lane,
            priority=job.priority,
            payload=job.payload,
            reason=reason,
            error=error,
            attempts=job.attempt,
            crashes=job.crashes,
            created_at=job.created_at,
            died_at=self._now_ms(),
        )
        await self._commit(self._rows.added(letter), self._outbox_rows.removed(job.tenant, job.id))

    # --- a person looks ---

    async def get(self, tenant: str, letter_id: str) -> DeadLetter | None:
        """The letter with this id."""
        return await self._rows.get(tenant, letter_id)

    async def listed(self, tenant: str, wanted: DeadFilter, *, after: Place | None, limit: int) -> Sequence[DeadLetter]:
        """A page, the newest first."""
        return await self._rows.listed(tenant, wanted, after=after, limit=limit)

    async def count(self, tenant: str, wanted: DeadFilter) -> int:
        """How many fit."""
        return await self._rows.count(tenant, wanted)

    async def by_queue(self) -> dict[str, int]:
        """How many there are of each queue."""
        return await self._rows.by_queue()

    async def every(self, tenant: str, wanted: DeadFilter, *, limit: int | None = None) -> AsyncIterator[DeadLetter]:
        """All that fit, the newest first, page by page; what dies meanwhile is left out."""
        after: Place | None = None
        left = limit
        while left is None or left > 0:
            page = await self._rows.listed(tenant, wanted, after=after, limit=min(STEP, left or STEP))
            for letter in page:
                yield letter
            if len(page) < STEP:
                return
            after = place(page[-1])
            left = None if left is None else left - len(page)

    # --- a person acts ---

    async def edit(self, tenant: str, letter_id: str, payload: bytes) -> DeadLetter:
        """Another payload. Raises NotFound, or Conflict for a job whose payload is zapd's own."""
        letter = await self._existing(tenant, letter_id)
        if letter.queue not in self._own:
            raise Conflict(f"a job of {letter.queue} has no payload of yours to edit")
        if await self._commit(self._rows.edited(tenant, letter.queue, letter.id, payload)) is None:
            raise NotFound(f"there is no dead letter {letter_id}")
        return await self._existing(tenant, letter_id)

    async def retry(self, letter: DeadLetter, *, after_ms: int = 0) -> None:
        """Run it again, with all its tries. Raises Conflict or NotFound when what it is about moved on."""
        again = self._again.get(letter.queue)
        gone: Change = self._rows.removed(letter.tenant, letter.queue, letter.id)
        if again is not None:
            await again(letter.tenant, letter.payload)
            await self._commit(gone)
        else:
            job = self._job(letter, after_ms)
            # The row that makes it a job is the guard: a live job with this id keeps its letter beside it.
            if await self._commit(self._outbox_rows.added(job), gone, jobs=[job]) is None:
                raise Conflict(f"a job {letter.id} is waiting or runs already")
        await self._forget(letter)

    async def retry_all(
        self, tenant: str, wanted: DeadFilter, *, most: int, rate: float | None
    ) -> tuple[int, int, int]:
        """Run all again that fit, at most `most`, spread by the rate per second; the oldest first.

        Returns how many run again, how many had moved on (their letters go), and in how many ms the last one starts.
        """
        found = [letter async for letter in self.every(tenant, wanted, limit=most)]
        found.reverse()
        rate = rate or self._rate
        retried = passed = last = 0
        for start in range(0, len(found), STEP):
            some = found[start : start + STEP]
            waits = [round((start + n) * 1000 / rate) if rate else 0 for n in range(len(some))]
            went = await asyncio.gather(*[self._retried(letter, ms) for letter, ms in zip(some, waits, strict=True)])
            retried += sum(went)
            passed += len(went) - sum(went)
            last = waits[-1]
        return retried, passed, last

    async def _retried(self, letter: DeadLetter, after_ms: int) -> bool:
        try:
            await self.retry(letter, after_ms=after_ms)
        except (Conflict, NotFound):
            if letter.queue in self._again:
                await self.drop(letter)
            return False
        return True

    async def drop(self, letter: DeadLetter) -> bool:
        """Delete it. False: somebody was faster."""
        gone = await self._commit(self._rows.removed(letter.tenant, letter.queue, letter.id))
        await self._forget(letter)
        return gone is not None

    async def purge(self, tenant: str, wanted: DeadFilter, *, most: int) -> int:
        """Delete all that fit, at most `most`; returns how many."""
        deleted = 0
        while deleted < most:
            page = await self._rows.listed(tenant, wanted, after=None, limit=min(STEP, most - deleted))
            deleted += sum(await asyncio.gather(*[self.drop(letter) for letter in page]))
            if len(page) < STEP:
                break
        return deleted

    async def clean(self, queue: str) -> int:
        """Delete some of those past their retention; 0: none is left."""
        found = await self._rows.older(queue, self._now_ms() - self._kept[queue], STEP)
        for key in found:
            await self._commit(self._rows.removed(*key))
        return len(found)

    # --- inside ---

    async def _existing(self, tenant: str, letter_id: str) -> DeadLetter:
        letter = await self._rows.get(tenant, letter_id)
        if letter is None:
            raise NotFound(f"there is no dead letter {letter_id}")
        return letter

    def _job(self, letter: DeadLetter, after_ms: int) -> Job:
        now = self._now_ms()
        return Job(
            tenant=letter.tenant,
            id=letter.id,
            queue=letter.queue,
            kind=letter.kind,
            lane=letter.lane,
            priority=letter.priority,
            payload=letter.payload,
            created_at=now,
            due_at=now + after_ms if after_ms else 0,
        )

    async def _forget(self, letter: DeadLetter) -> None:
        with suppress(Unavailable, NotFound):  # Redis drops its copy by itself, after its retention
            await self._drop(letter.queue, letter.id)


def place_of(cursor: str) -> Place:
    """The place that a page's `next` names. Raises InvalidInput."""
    at, _, rest = cursor.partition("~")
    letter_id, _, queue = rest.partition("~")
    if not at.isascii() or not at.isdigit() or not queue:
        raise InvalidInput(FieldError("after", "the `next` of the page before"))
    return int(at), letter_id, queue


def cursor_of(letter: DeadLetter) -> str:
    """The `next` of a page that ends with this letter."""
    return f"{letter.died_at}~{letter.id}~{letter.queue}"


def line_of(letter: Mapping[str, object]) -> bytes:
    """One line of an export."""
    return orjson.dumps(letter) + b"\n"
