"""The handler of the queue message:send, and how a send can end.

A WhatsApp send is not idempotent. `sending` is committed before the transport is called, so a crash is one of three:
before that commit the message is still queued and is claimed again; after `sent` was committed the next claim finds it
sent; in between nobody knows, unless the transport can trace it, and the connection's `on_ambiguous` policy decides.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import structlog

from zapd import failpoint
from zapd.announce import Announcer
from zapd.errors import Conflict, Unavailable
from zapd.jobs.job import Discard, Done, Job, Outcome, Retry, Snooze
from zapd.messaging.accounts import Accounts, Commit
from zapd.messaging.enclosed import NOT_SENT, Enclosing
from zapd.messaging.metrics import MessageMetrics
from zapd.messaging.pace import Pace
from zapd.messaging.people import OPTED_OUT, People
from zapd.messaging.receipts import Receipts
from zapd.messaging.spelling import Spelling
from zapd.messaging.templates import REFUSED, TEMPLATE, Templates
from zapd.messaging.windows import ALWAYS, CLOSED, Windows
from zapd.model.message import ONLY, SOURCES, Message, MessageStatus
from zapd.model.session import OnAmbiguous, SessionState
from zapd.model.webhook import Severity
from zapd.store.commands import Change, Row
from zapd.store.messages import MessageStore
from zapd.whatsapp.transport import (
    PauseNewContacts,
    Permanent,
    RetryAt,
    SendError,
    SendResult,
    TemplateRefused,
    UnknownOutcome,
)

log = structlog.get_logger("zapd.messaging")

VERIFY_FOR = 60.0  #: seconds in which a late receipt may prove that a message left
LOOK_AGAIN = 5.0  #: seconds a lane waits before it looks whether its session is back; a connect ends the wait
RECORD_AGAIN = 0.5  #: seconds between tries to record a send while SQL is away
S = MessageStatus


class Sender:
    """Sends messages and records how each send ended."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        messages: MessageStore,
        receipts: Receipts,
        enclosing: Enclosing,
        people: People,
        windows: Windows,
        pace: Pace,
        spelling: Spelling,
        templates: Templates,
        announcer: Announcer,
        commit: Commit,
        now_ms: Callable[[], int],
        metrics: MessageMetrics,
    ) -> None:
        self._accounts = accounts
        self._messages = messages
        self._receipts = receipts
        self._enclosing = enclosing
        self._people = people
        self._windows = windows
        self._pace = pace
        self._spelling = spelling
        self._templates = templates
        self._announcer = announcer
        self._commit = commit
        self._now_ms = now_ms
        self._metrics = metrics

    async def send(self, job: Job) -> Outcome:
        """Send one message and record how it ended."""
        body = orjson.loads(job.payload)
        expires_at, now = body["expires_at"], self._now_ms()
        expired = expires_at is not None and now >= expires_at
        if not expired:
            if not self._accounts.connected(job.tenant, body["connection_id"]):
                return await self._not_connected(job.tenant, body["connection_id"])
            peer = await self._addressee(job, body)
            if not isinstance(peer, str):
                return peer
            message = await self._claim(job, body, now)
            if message is not None:
                return await self._transmit(message, peer or message.peer)
        message = await self._messages.get(job.tenant, body["message_id"])
        if message is not None and message.status is S.SENDING:
            return await self._settle(message, expired=expired)
        if message is not None and message.status in SOURCES[S.EXPIRED]:
            await self._move(message, S.EXPIRED, "message.expired")
        if message is not None and message.status is S.SENT and message.provider_id is not None:
            await self._receipts.apply_parked(message, message.provider_id)  # if an earlier run died before it did
        return Done()  # sent, canceled, held: somebody settled it before this run

    async def _addressee(self, job: Job, body: dict[str, str]) -> str | Outcome:
        """Where to send to, or why not now; empty for a job of an older release, which does not say."""
        peer = body.get("to")
        connection = await self._accounts.find(job.tenant, body["connection_id"])
        if peer is None or connection is None:
            return ""
        if await self._people.opted_out(job.tenant, peer) is not None:
            return Discard("opted_out", "the contact wants no messages")
        closed = await self._windows.closed(connection, peer)
        if closed is not None and await self._needs_window(job.tenant, body["message_id"]):
            return Discard(CLOSED, closed)
        wait, in_turn = await self._pace.before(connection, peer, job, body["message_id"]), False
        if wait is None:
            try:
                found = await self._spelling.of(connection, peer)
            except Permanent as error:
                return Discard(error.code, error.detail)
            if isinstance(found, str):
                return found
            wait, in_turn = found, True  # those behind it need a lookup as well: it goes first
        log.debug("send.waits", message_id=body["message_id"], seconds=wait.seconds, why=wait.why)
        return Snooze(wait.seconds, park_lane=in_turn, given_back=True)

    async def _needs_window(self, tenant: str, message_id: str) -> bool:
        """A job does not say of what type its message is. One that may have left already is not judged again."""
        message = await self._messages.get(tenant, message_id)
        return message is not None and message.status is S.QUEUED and message.type not in ALWAYS

    async def _not_connected(self, tenant: str, connection_id: str) -> Outcome:
        connection = await self._accounts.find(tenant, connection_id)
        if connection is None or connection.state is SessionState.CLOSED:
            return Discard("connection_closed", "the connection was closed before the message left")
        return Snooze(LOOK_AGAIN, park_lane=True, given_back=True)

    async def dead(self, job: Job, reason: str, error: str) -> None:
        """The job is given up: the message goes to `dlq`, before the job goes to the dead letters."""
        message = await self._messages.get(job.tenant, orjson.loads(job.payload)["message_id"])
        if message is not None and message.status in SOURCES[S.DLQ]:
            await self._move(message, S.DLQ, "message.failed", SendError(reason, error), severity=Severity.ERROR)

    async def _claim(self, job: Job, body: dict[str, str], now: int) -> Message | None:
        message_id = body["message_id"]
        event = self._announcer.announce(
            "message.sending",
            tenant=job.tenant,
            at=now,
            data={"message_id": message_id, "attempt": job.attempt},
            connection_id=body["connection_id"],
            message_id=message_id,
        )
        row = await self._commit(
            self._messages.claimed(job.tenant, message_id, now), *self._pace.left(message_id), *event.changes
        )
        return None if row is None else self._counted(row, S.SENDING)

    async def _transmit(self, message: Message, peer: str) -> Outcome:
        failpoint.reached("send.claimed")
        closed = await self._template_closed(message)
        if closed is not None:
            return Discard(REFUSED, closed)
        spelt = message if peer == message.peer else replace(message, peer=peer)
        try:
            result = await self._accounts.send(spelt, await self._enclosing.of(message))
        except SendError as error:
            log.info("send.failed", message_id=message.id, connection_id=message.connection_id, code=error.code)
            return await self._after(message, error)
        return await self._sent(message, result)

    async def _template_closed(self, message: Message) -> str | None:
        """Why the provider would not take it: its template was paused or disabled while it waited."""
        if message.type != TEMPLATE:
            return None
        connection = await self._accounts.find(message.tenant, message.connection_id)
        return await self._templates.closed(connection, orjson.loads(message.payload)) if connection else None

    async def _sent(self, message: Message, result: SendResult) -> Outcome:
        failpoint.reached("send.answered")
        at = result.accepted_at
        event = self._announcer.of_message("message.sent", message, at=at, data={"provider_id": result.provider_id})
        moved = self._messages.moved(
            message.tenant,
            message.id,
            to=S.SENT,
            frm=SOURCES[S.SENT],
            at=at,
            whole=False,
            provider_id=result.provider_id,
        )
        if await self._record(moved, *event.changes, jobs=event.jobs):
            self._metrics.sent(message, at)
            self._receipts.expect(message, result.provider_id, at)
        failpoint.reached("send.recorded")
        with suppress(Unavailable, Conflict):  # it is sent and recorded, whatever becomes of what we know of people
            await self._people.sent(message, result.peer, at)
        await self._receipts.apply_parked(message, result.provider_id)
        return Done()

    async def _record(self, moved: Change, *then: Change, jobs: Sequence[Job]) -> bool:
        """Keep what is known: forgetting it while SQL is away for a moment would send the message twice.

        The job's timeout ends this. No row is no trouble: a receipt was faster and said so already.
        """
        while True:
            try:
                return await self._commit(moved, *then, jobs=jobs) is not None
            except Unavailable as error:
                log.warning("send.not_recorded", message_id=moved.key[1], reason=str(error))
            await asyncio.sleep(RECORD_AGAIN)

    # --- how a send can end otherwise ---

    async def _after(self, message: Message, error: SendError) -> Outcome:
        match error:
            case UnknownOutcome():
                return await self._doubt(message, error)
            case Permanent():
                if error.code in OPTED_OUT:
                    await self._people.refused(message.tenant, message.peer, error.code)
                if isinstance(error, TemplateRefused):
                    await self._template_refused(message, error)
                return Discard(error.code, error.detail)  # `dead` moves the message
            case RetryAt(wait=None):
                await self._move(message, S.FAILED, "message.retrying", error)
                return Retry(str(error))
        await self._move(message, S.QUEUED, "message.requeued", error)
        await self._waits(message, error)
        return _wait_for(error)

    async def _template_refused(self, message: Message, error: TemplateRefused) -> None:
        connection = await self._accounts.find(message.tenant, message.connection_id)
        if connection is not None:
            await self._templates.refused(connection, message, error)

    async def _waits(self, message: Message, error: SendError) -> None:
        """The message waits, and its session does not: who else does."""
        connection = await self._accounts.find(message.tenant, message.connection_id)
        if connection is None:
            return
        match error:
            case PauseNewContacts():
                await self._pace.hold_new_people(connection, error.wait)
                await self._pace.again(connection, message, error.wait)
            case RetryAt(wait=float() | int() as wait, whole_session=False) if error.code != NOT_SENT:
                await self._pace.again(connection, message, wait)

    async def _doubt(self, message: Message, error: UnknownOutcome) -> Outcome:
        """The call was written and no answer came. Doubt burns an attempt, so that it cannot go on for ever."""
        policy = await self._policy(message)
        if policy is OnAmbiguous.HOLD:
            return await self._hold(message, error)
        return Retry(str(error), after=VERIFY_FOR if policy is OnAmbiguous.VERIFY else None)

    async def _settle(self, message: Message, *, expired: bool) -> Outcome:
        """A run found the message in `sending`: an earlier one died or doubted between the call and its record.

        One that has expired meanwhile is held by every policy: it must not be sent late. One that certainly never left
        is sent by every policy.
        """
        policy, trace = await self._policy(message), await self._accounts.trace(message)
        error = UnknownOutcome(
            "unknown_outcome", "no answer told whether it left", provider_id=trace.provider_id if trace else None
        )
        if trace is not None and trace.provider_id is None and not expired:
            return await self._transmit_again(
                message, policy, UnknownOutcome("never_left", "its daemon stopped before")
            )
        if expired or policy is OnAmbiguous.HOLD:
            return await self._hold(message, error)
        waited = (self._now_ms() - (message.sending_at or 0)) / 1000
        if policy is OnAmbiguous.VERIFY and waited < VERIFY_FOR:
            return Snooze(VERIFY_FOR - waited)
        return await self._transmit_again(message, policy, error)

    async def _transmit_again(self, message: Message, policy: OnAmbiguous, error: SendError) -> Outcome:
        log.warning("send.repeated", message_id=message.id, connection_id=message.connection_id, policy=policy)
        again = await self._move(message, S.SENDING, "message.resending", error, severity=Severity.WARNING)
        return Done() if again is None else await self._transmit(again, again.peer)

    async def _policy(self, message: Message) -> OnAmbiguous:
        connection = await self._accounts.find(message.tenant, message.connection_id)
        return connection.on_ambiguous if connection else OnAmbiguous.HOLD

    async def _hold(self, message: Message, error: UnknownOutcome) -> Outcome:
        """Wait for a person or a receipt, which finds the message by the id under which it may have left."""
        known = {"provider_id": error.provider_id} if error.provider_id else {}
        held = await self._move(message, S.HELD, "message.held", error, severity=Severity.WARNING, **known)
        if held is not None and error.provider_id:
            await self._receipts.apply_parked(held, error.provider_id)
        return Done()

    async def _move(
        self,
        message: Message,
        to: MessageStatus,
        event_type: str,
        error: SendError | None = None,
        *,
        severity: Severity = Severity.INFO,
        **fields: Any,
    ) -> Message | None:
        data: dict[str, Any] = {}
        if error is not None:
            fields |= {"error_code": error.code, "error": error.detail}
            data = {"error": {"code": error.code, "detail": error.detail}}
        now = self._now_ms()
        event = self._announcer.of_message(event_type, message, at=now, data=data, severity=severity)
        frm = ONLY[message.status]
        moved = self._messages.moved(message.tenant, message.id, to=to, frm=frm, at=now, **fields)
        row = await self._commit(moved, *event.changes, jobs=event.jobs)
        return None if row is None else self._counted(row, to)

    def _counted(self, row: Row, to: MessageStatus) -> Message:
        message = self._messages.of(row)
        self._metrics.moved(message, to)
        return message


def _wait_for(error: SendError) -> Snooze:
    """How long a message waits that went back to its queue, and whether its whole session waits with it."""
    match error:
        case RetryAt(wait=float() | int() as wait):
            return Snooze(wait, park_lane=error.whole_session)
        case PauseNewContacts():
            return Snooze(error.wait)
    return Snooze(LOOK_AGAIN, park_lane=True)
