"""What a receipt does to a message: ranks only rise, each step is announced once, an early receipt is parked."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zapd.announce import Announcement, Announcer, together
from zapd.jobs.job import Job
from zapd.messaging.accounts import Commit
from zapd.messaging.metrics import MessageMetrics
from zapd.model.message import ONLY, RANK, Direction, Message, MessageStatus, receipt_from
from zapd.model.webhook import Severity
from zapd.store.commands import Change
from zapd.store.messages import MessageStore
from zapd.store.parked import ParkedReceipt, ParkedStore
from zapd.whatsapp.transport import Receipt

Steps = Mapping[MessageStatus, Receipt]  # those that came in together
EXPECTED = 2000  #: messages kept in memory until their next receipt, so that it needs no look at SQL

_Known = tuple[str, str, str]  # tenant, connection, provider's id

_STEPS = (MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ, MessageStatus.PLAYED)


class Receipts:
    """Applies receipts. Running one again does no harm."""

    def __init__(
        self,
        *,
        messages: MessageStore,
        parked: ParkedStore,
        announcer: Announcer,
        commit: Commit,
        now_ms: Callable[[], int],
        metrics: MessageMetrics,
        another_try: Callable[[Message, Receipt], Awaitable[Job | None]],
    ) -> None:
        self._messages = messages
        self._parked = parked
        self._announcer = announcer
        self._commit = commit
        self._now_ms = now_ms
        self._metrics = metrics
        self._another_try = another_try
        # Messages sent of late, without their payloads. A look here may be behind the truth; the compare-and-set tells.
        self._expected: dict[_Known, Message] = {}

    def expect(self, message: Message, provider_id: str, at: int) -> None:
        """The message was sent at `at` (ms), and that is committed: its receipts will come soon."""
        sent = replace(message, status=MessageStatus.SENT, provider_id=provider_id, sent_at=at, payload=b"")
        self._expect(sent, provider_id)

    def _expect(self, message: Message, provider_id: str) -> None:
        if len(self._expected) >= EXPECTED:
            del self._expected[next(iter(self._expected))]
        self._expected[message.tenant, message.connection_id, provider_id] = message

    async def apply(
        self, tenant: str, connection_id: str, receipts: Sequence[Receipt], then: Sequence[Change] = ()
    ) -> bool:
        """Move one message forward by the receipts that came for it, or park them until its provider id is known.

        Receipts that came together are one step: the highest moves the message, the others give their times. `then` is
        committed with the last step, when that moves the message; returns whether it was.
        """
        kept = False
        moves = list(_moves(receipts))
        for receipt, steps in moves:
            kept = False
            message = await self._find(tenant, connection_id, receipt)
            if message is None:
                await asyncio.gather(*[self._park(tenant, connection_id, each) for each in steps.values() or [receipt]])
                # The provider id may have been saved between the look and the parking: look once more.
                message = await self._find(tenant, connection_id, receipt)
            if message is not None:
                kept = await self._advance(message, receipt, steps, then if receipt is moves[-1][0] else ())
        return kept

    async def apply_parked(self, message: Message, provider_id: str) -> None:
        """Apply the receipts that came before the message knew this provider id."""
        parked = await self._parked.of(message.tenant, message.connection_id, provider_id)
        for receipt, steps in _moves([_unparked(row, message.id) for row in parked]):
            await self._advance(message, receipt, steps)
        for row in parked:
            await self._commit(self._parked.removed(row.tenant, row.connection_id, provider_id, row.status))

    async def _find(self, tenant: str, connection_id: str, receipt: Receipt) -> Message | None:
        expected = self._expected.pop((tenant, connection_id, receipt.provider_id), None)
        if expected is not None:
            return expected
        if receipt.message_id is not None:
            message = await self._messages.get(tenant, receipt.message_id)
            if message is not None and message.connection_id == connection_id:
                return message
        return await self._messages.by_provider_id(tenant, connection_id, Direction.OUTBOUND, receipt.provider_id)

    async def _park(self, tenant: str, connection_id: str, receipt: Receipt) -> None:
        parked = ParkedReceipt(
            tenant=tenant,
            connection_id=connection_id,
            provider_id=receipt.provider_id,
            status=receipt.status,
            at=receipt.at,
            error_code=receipt.code,
            error=receipt.detail,
            created_at=self._now_ms(),
        )
        await self._commit(self._parked.added(parked))

    async def _advance(self, message: Message, receipt: Receipt, steps: Steps, then: Sequence[Change] = ()) -> bool:
        current: Message | None = message
        # Somebody else may move the message between the look and the change: look again, at most once per rank.
        for _ in range(len(RANK)):
            if (
                current is None
                or current.status not in receipt_from(receipt.status)
                or _of_an_earlier_try(current, receipt)
            ):
                return False
            if await self._move(current, receipt, steps, then):
                return True
            current = await self._messages.get(message.tenant, message.id)
        return False

    async def _move(self, message: Message, receipt: Receipt, steps: Steps, then: Sequence[Change]) -> bool:
        fields: dict[str, Any] = {} if message.provider_id else {"provider_id": receipt.provider_id}
        jobs: list[Job] = []
        if receipt.status is MessageStatus.FAILED:
            again = await self._another_try(message, receipt)
            to, announcement = (
                MessageStatus.FAILED if again else MessageStatus.DLQ,
                self._failure(message, receipt, again),
            )
            fields |= {"error_code": receipt.code, "error": receipt.detail}
            if again is not None:
                jobs, fields["job_id"] = [again], again.id
        else:
            to, announcement = receipt.status, self._progress(message, receipt, steps)
            floor = _floor(message)
            fields |= {f"{status}_at": step.at for status, step in steps.items() if floor < RANK[status] < RANK[to]}
        change = self._messages.moved(
            message.tenant, message.id, to=to, frm=ONLY[message.status], at=receipt.at, whole=False, **fields
        )
        if await self._commit(change, *announcement.changes, *then, jobs=[*jobs, *announcement.jobs]) is None:
            return False
        self._metrics.moved(message, to)
        if to is MessageStatus.DELIVERED:
            self._expect(replace(message, status=to, payload=b""), receipt.provider_id)
        return True

    def _failure(self, message: Message, receipt: Receipt, again: Job | None) -> Announcement:
        error = {"code": receipt.code, "detail": receipt.detail}
        data = {"provider_id": receipt.provider_id, "error": error}
        type_, severity = ("message.retrying", Severity.INFO) if again else ("message.failed", Severity.ERROR)
        return self._announcer.of_message(type_, message, at=receipt.at, data=data, severity=severity)

    def _progress(self, message: Message, receipt: Receipt, steps: Steps) -> Announcement:
        """Every step up to the receipt's is announced once: read says delivered too."""
        data, floor = {"provider_id": receipt.provider_id}, _floor(message)
        return together(
            *[
                self._announcer.of_message(f"message.{status}", message, at=steps.get(status, receipt).at, data=data)
                for status in _STEPS
                if floor < RANK[status] <= RANK[receipt.status]
            ]
        )


def _moves(receipts: Sequence[Receipt]) -> Iterator[tuple[Receipt, Steps]]:
    """What receipts of one message that came together do: the highest step, then the failure.

    In this order, because a failure counts only below delivered.
    """
    steps: Steps = {receipt.status: receipt for receipt in receipts if receipt.status is not MessageStatus.FAILED}
    if steps:
        yield max(steps.values(), key=lambda receipt: RANK[receipt.status]), steps
    for receipt in receipts:
        if receipt.status is MessageStatus.FAILED:
            yield receipt, {}
            return


def _floor(message: Message) -> int:
    """The rank that was announced. One that failed after it was sent has rank 0 again, but its `sent` was announced."""
    return max(RANK[message.status], RANK[MessageStatus.SENT] if message.sent_at else 0)


def _of_an_earlier_try(message: Message, receipt: Receipt) -> bool:
    """A failure that was told before, and that the message has left behind: it is on its way under another id."""
    if receipt.status is not MessageStatus.FAILED or message.provider_id is None:
        return False
    return (message.status is MessageStatus.SENDING) is (message.provider_id == receipt.provider_id)


def _unparked(row: ParkedReceipt, message_id: str) -> Receipt:
    return Receipt(
        provider_id=row.provider_id,
        status=MessageStatus(row.status),
        at=row.at,
        message_id=message_id,
        code=row.error_code,
        detail=row.error,
    )


def by_message(receipts: Sequence[Receipt]) -> list[list[Receipt]]:
    """Receipts grouped by message, in the order of arrival: groups may be applied side by side."""
    groups: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        groups.setdefault(receipt.provider_id, []).append(receipt)
    return list(groups.values())
