"""What a receipt does to a message: ranks only rise, each step is announced once, an early receipt is parked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zapd.announce import Announcement, Announcer, together
from zapd.messaging.accounts import Commit
from zapd.model.message import ONLY, RANK, Direction, Message, MessageStatus, receipt_from
from zapd.model.webhook import Severity
from zapd.store.messages import MessageStore, ParkedReceipt
from zapd.whatsapp.transport import Receipt

Times = Mapping[MessageStatus, int]  # when steps happened (ms) that came in together

_STEPS = (MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ, MessageStatus.PLAYED)


class Receipts:
    """Applies receipts. Running one again does no harm."""

    def __init__(
        self, *, messages: MessageStore, announcer: Announcer, commit: Commit, now_ms: Callable[[], int]
    ) -> None:
        self._messages = messages
        self._announcer = announcer
        self._commit = commit
        self._now_ms = now_ms

    async def apply(self, tenant: str, connection_id: str, receipts: Sequence[Receipt]) -> None:
        """Move one message forward by the receipts that came for it, or park them until its provider id is known.

        Receipts that came together are one step: the highest moves the message, the others give their times.
        """
        failed = [receipt for receipt in receipts if receipt.status is MessageStatus.FAILED]
        steps = {receipt.status: receipt for receipt in receipts if receipt.status is not MessageStatus.FAILED}
        for receipt in failed[:1]:
            await self._apply(tenant, connection_id, receipt, {})
        if steps:
            highest = max(steps.values(), key=lambda receipt: RANK[receipt.status])
            await self._apply(tenant, connection_id, highest, {status: step.at for status, step in steps.items()})

    async def _apply(self, tenant: str, connection_id: str, receipt: Receipt, times: Times) -> None:
        message = await self._find(tenant, connection_id, receipt)
        if message is None:
            await self._park(tenant, connection_id, receipt)
            # The provider id may have been saved between the look and the parking: look once more.
            message = await self._find(tenant, connection_id, receipt)
        if message is not None:
            await self._advance(message, receipt, times)

    async def apply_parked(self, message: Message, provider_id: str) -> None:
        """Apply the receipts that came before the message knew this provider id."""
        for parked in await self._messages.parked_for(message.tenant, message.connection_id, provider_id):
            receipt = Receipt(
                provider_id=provider_id,
                status=MessageStatus(parked.status),
                at=parked.at,
                message_id=message.id,
                code=parked.error_code,
                detail=parked.error,
            )
            await self._advance(message, receipt, {})
            await self._commit(
                self._messages.unparked(message.tenant, message.connection_id, provider_id, parked.status)
            )

    async def _find(self, tenant: str, connection_id: str, receipt: Receipt) -> Message | None:
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
        await self._commit(self._messages.parked(parked))

    async def _advance(self, message: Message, receipt: Receipt, times: Times) -> None:
        current: Message | None = message
        # Somebody else may move the message between the look and the change: look again, at most once per rank.
        for _ in range(len(RANK)):
            if current is None or current.status not in receipt_from(receipt.status):
                return
            if await self._move(current, receipt, times):
                return
            current = await self._messages.get(message.tenant, message.id)

    async def _move(self, message: Message, receipt: Receipt, times: Times) -> bool:
        fields: dict[str, Any] = {"provider_id": message.provider_id or receipt.provider_id}
        if receipt.status is MessageStatus.FAILED:
            to, announcement = MessageStatus.DLQ, self._failure(message, receipt)
            fields |= {"error_code": receipt.code, "error": receipt.detail}
        else:
            to, announcement = receipt.status, self._progress(message, receipt, times)
            fields |= {f"{status}_at": at for status, at in times.items() if status is not to}
        change = self._messages.moved(
            message.tenant, message.id, to=to, frm=ONLY[message.status], at=receipt.at, **fields
        )
        row = await self._commit(change, *announcement.changes, jobs=announcement.jobs)
        return row is not None

    def _failure(self, message: Message, receipt: Receipt) -> Announcement:
        error = {"code": receipt.code, "detail": receipt.detail}
        data = {"provider_id": receipt.provider_id, "error": error}
        return self._announcer.of_message("message.failed", message, at=receipt.at, data=data, severity=Severity.ERROR)

    def _progress(self, message: Message, receipt: Receipt, times: Times) -> Announcement:
        """Every step up to the receipt's is announced once: read says delivered too."""
        # A message that failed after it was sent has rank 0 again, but its `sent` was announced.
        floor = max(RANK[message.status], RANK[MessageStatus.SENT] if message.sent_at else 0)
        data = {"provider_id": receipt.provider_id}
        return together(
            *[
                self._announcer.of_message(f"message.{status}", message, at=times.get(status, receipt.at), data=data)
                for status in _STEPS
                if floor < RANK[status] <= RANK[receipt.status]
            ]
        )


def by_message(receipts: Sequence[Receipt]) -> list[list[Receipt]]:
    """Receipts grouped by message, in the order of arrival: groups may be applied side by side."""
    groups: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        groups.setdefault(receipt.provider_id, []).append(receipt)
    return list(groups.values())
