"""What comes from the provider: the raw bytes are kept first, their meaning is read after."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

import orjson

from zapd import failpoint
from zapd.errors import Conflict, NotFound
from zapd.ids import Ids
from zapd.jobs.job import Discard, Done, Job, Outcome
from zapd.messaging.accounts import (
    PRIORITY_RECEIVE,
    PRIORITY_STATUS,
    RECEIVE,
    STATUS,
    Accounts,
    Commit,
)
from zapd.messaging.inbound import Inbounds, Told
from zapd.messaging.people import People
from zapd.messaging.receipts import Receipts, by_message
from zapd.model.session import Connection
from zapd.store.commands import Change
from zapd.store.inbox import PACK_FROM, InboxStore, packed
from zapd.whatsapp.transport import Inbound, Notice, Peek, Preference, Receipt, TemplateChange, Update

AT_ONCE = 32  #: messages of large bodies, of all together, that are worked on at once
ASIDE_FROM = 64 * 1024  #: bytes; what is larger is read in a thread, where it holds up nobody
FRESH, FRESH_SIZE = 1000, 4096  #: rows, and bytes of one, kept in memory until their job runs: it need not read them

_ONCE = (Notice, Preference, TemplateChange)  #: what is not told again when a row is read again
_PLAIN = re.compile(r"[A-Za-z0-9@._:+-]{1,200}")  #: a peer that may stand in the name of a lane


class Receiver:
    """Takes provider webhooks and transport updates in. Running a job again does no harm."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        inbox: InboxStore,
        receipts: Receipts,
        inbounds: Inbounds,
        people: People,
        commit: Commit,
        ids: Ids,
        now_ms: Callable[[], int],
    ) -> None:
        self._accounts = accounts
        self._inbox = inbox
        self._receipts = receipts
        self._inbounds = inbounds
        self._people = people
        self._commit = commit
        self._ids = ids
        self._now_ms = now_ms
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._fresh: dict[str, bytes] = {}  # inbox id → raw, of rows whose job has not run yet

    async def intake(self, connection: Connection, raw: bytes, provider_key: str) -> bool:
        """Keep a provider's raw bytes and the job that will read them, in one commit. False: they came before.

        Raises ValueError when the bytes are not of this provider; nothing is kept then.
        """
        told = self._accounts.peek(connection, raw)
        now, inbox_id = self._now_ms(), self._ids.new("inb")
        jobs = self._readers(connection, told, inbox_id, now)
        stored = packed(raw) if len(raw) < PACK_FROM else await asyncio.to_thread(packed, raw)
        added = self._inbox.added(
            connection.tenant, inbox_id, connection.id, provider_key, stored, now, processed_at=None if jobs else now
        )
        kept = await self._commit(added, jobs=jobs) is not None
        failpoint.reached("receive.kept")
        if kept and len(jobs) == 1 and len(raw) <= FRESH_SIZE:
            if len(self._fresh) >= FRESH:
                del self._fresh[next(iter(self._fresh))]
            self._fresh[inbox_id] = raw
        return kept

    async def process(self, tenant: str, inbox_id: str) -> list[str]:
        """Read a row once more; returns the ids of the jobs that do it. What was applied before stays as it is.

        Raises NotFound, or Conflict when its bytes cannot be read at all.
        """
        stored = await self._inbox.get(tenant, inbox_id)
        connection = await self._accounts.find(tenant, stored.connection_id) if stored is not None else None
        if stored is None or connection is None:
            raise NotFound(f"there is no inbox row {inbox_id}")
        try:
            told = self._accounts.peek(connection, stored.raw)
        except ValueError as error:
            raise Conflict(f"the bytes are not of this provider: {error}") from None
        jobs = self._readers(connection, told, inbox_id, self._now_ms())
        if jobs:
            await self._commit(self._inbox.again(tenant, inbox_id), jobs=jobs)
        return [job.id for job in jobs]

    def _readers(self, connection: Connection, told: Peek, inbox_id: str, now: int) -> list[Job]:
        """The jobs that read an inbox row: one for its messages, one for its receipts, where there are any."""
        job = Job(
            id=self._ids.new("job"),
            queue=STATUS,
            payload=orjson.dumps({"inbox_id": inbox_id, "connection_id": connection.id}),
            priority=PRIORITY_STATUS,
            created_at=now,
            tenant=connection.tenant,
        )
        jobs = [job] if told.receipts else []
        if told.others:
            lane = _conversation(connection, told.chat)
            jobs.append(replace(job, id=self._ids.new("job"), queue=RECEIVE, priority=PRIORITY_RECEIVE, lane=lane))
        return jobs

    async def receive(self, job: Job) -> Outcome:
        """Handler of message:receive and message:status: apply one inbox row. Safe to run again."""
        body = orjson.loads(job.payload)
        inbox_id, again = body["inbox_id"], False
        connection = await self._accounts.find(job.tenant, body["connection_id"])
        raw = self._fresh.pop(inbox_id, None)
        if raw is None:
            stored = await self._inbox.get(job.tenant, inbox_id)
            if stored is None:
                return Done()  # past its retention
            raw, again = stored.raw, stored.processed_at is not None
        if connection is None:
            return Done()  # deleted
        try:
            updates = await self._parsed(connection, raw)
        except ValueError as error:
            return Discard("unreadable", str(error))  # the same bytes say the same at every try
        processed = self._inbox.processed(job.tenant, inbox_id, self._now_ms())
        kept = False
        if job.queue == RECEIVE:
            told = [update for update in updates if not isinstance(update, Receipt)]
            # Where there are receipts too, it may be their job that was here before.
            again = again and len(told) == len(updates)
            await self._keep_all(connection, told, again=again)
        else:
            receipts = [update for update in updates if isinstance(update, Receipt)]
            kept = await self._apply_receipts(connection, receipts, processed)
        failpoint.reached("receive.applied")
        if not kept:
            await self._commit(processed)
        return Done()

    async def _parsed(self, connection: Connection, raw: bytes) -> Sequence[Update]:
        if len(raw) < ASIDE_FROM:
            return self._accounts.parse(connection, raw)
        return await asyncio.to_thread(self._accounts.parse, connection, raw)

    async def dead(self, job: Job, reason: str, error: str) -> None:
        """The row could not be read: it is kept with the reason until its retention; the job is a dead letter."""
        inbox_id = orjson.loads(job.payload)["inbox_id"]
        await self._commit(self._inbox.processed(job.tenant, inbox_id, self._now_ms(), f"{reason}: {error}"))

    async def _apply_receipts(self, connection: Connection, receipts: Sequence[Receipt], processed: Change) -> bool:
        """Whether `processed` was committed with them."""
        await self._people.heard(connection, receipts)
        groups = by_message(receipts)
        if len(groups) == 1:  # the usual case, without the cost of a task and of a commit
            return await self._receipts.apply(connection.tenant, connection.id, groups[0], [processed])
        apply = self._receipts.apply
        await self._side_by_side([partial(apply, connection.tenant, connection.id, group) for group in groups])
        return False

    async def _keep_all(self, connection: Connection, updates: Sequence[Told], *, again: bool) -> None:
        """Keep them, each chat in its order and the chats side by side. `_ONCE`: no id drops a repetition."""
        chats: dict[str, list[Told]] = {}
        for update in updates:
            if not (again and isinstance(update, _ONCE)):
                chats.setdefault(update.peer if isinstance(update, Inbound) else "", []).append(update)

        async def keep(chat: Sequence[Told]) -> None:
            for update in chat:
                await self._inbounds.keep(connection, update)

        await self._side_by_side([partial(keep, chat) for chat in chats.values()])

    async def _side_by_side(self, work: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Run them, a few at a time: a thousand at once would hold up everything else on the loop."""
        if len(work) == 1:  # the usual case, without the cost of a task
            await work[0]()
            return
        left = iter(work)

        async def go_on() -> None:
            for run in left:
                async with self._turns:
                    await run()

        await asyncio.gather(*[go_on() for _ in range(min(AT_ONCE, len(work)))])


def _conversation(connection: Connection, chat: str | None) -> str:
    """The lane of one contact, or that of the whole connection when several wrote. Strangers choose what a peer is."""
    return f"{connection.key}/{chat}" if chat is not None and _PLAIN.fullmatch(chat) else connection.key
