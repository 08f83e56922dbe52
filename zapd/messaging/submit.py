"""How a message comes in, and what a person may do to it later: submit, retry, cancel."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import orjson

from zapd.announce import Announcer
from zapd.errors import Conflict, FieldError, InvalidInput, NotFound, Unavailable
from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.media.library import Attached
from zapd.messaging.accounts import PRIORITY, RETRY_PRIORITY, SEND, Accounts, Commit
from zapd.messaging.enclosed import Enclosing
from zapd.messaging.metrics import MessageMetrics
from zapd.model.contact import Contact
from zapd.model.message import ONLY, RETRYABLE, SOURCES, Direction, Message, MessageStatus
from zapd.model.session import Connection, SessionState, key_of
from zapd.records import record
from zapd.store.commands import Change
from zapd.store.idempotency import IdempotencyStore
from zapd.store.messages import MessageStore
from zapd.store.outbox import OutboxStore

S = MessageStatus


@record
class Submit:
    """A message that somebody wants sent. Times in milliseconds since 1970 UTC; `payload` is JSON."""

    tenant: str
    connection_id: str
    to: str
    type: str
    payload: bytes
    message_id: str | None = None
    priority: int | None = None
    send_at: int | None = None
    expires_at: int | None = None
    reply_to: str | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None  #: of the request's body; given with `idempotency_key`
    bound: bool = False  #: by a key that is for this connection only: files that came in on another are not there


@record
class Submitted:
    """The answer to a submit. `repeated`: the same key and body came before."""

    id: str
    job_id: str
    status: str = "queued"
    repeated: bool = False


class Attach(Protocol):
    """`Library.attach`."""

    def __call__(
        self,
        tenant: str,
        message_id: str,
        type_: str,
        payload: bytes,
        *,
        send_at: int | None,
        of_connection: str | None,
    ) -> Awaitable[Attached]: ...


class Prepared(NamedTuple):
    """A message that was checked, with what is committed for it."""

    message: Message
    job: Job
    changes: Sequence[Change]


class Messaging:
    """The API's side of messages. `letter_gone` takes the dead letter of a job away: (tenant, queue, id)."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        messages: MessageStore,
        outbox_rows: OutboxStore,
        idempotency: IdempotencyStore,
        announcer: Announcer,
        commit: Commit,
        cancel_job: Callable[[str, str], Awaitable[bool]],
        letter_gone: Callable[[str, str, str], Change],
        enclosing: Enclosing,
        attach: Attach,
        check_window: Callable[[Connection, str, str], Awaitable[None]],
        check_template: Callable[[Connection, str, Any], Awaitable[None]],
        opted_out: Callable[[str, str], Awaitable[Contact | None]],
        recipient: Callable[[str], str],
        check_content: Callable[[str, Any, frozenset[str], bool], None],
        ids: Ids,
        now_ms: Callable[[], int],
        metrics: MessageMetrics,
    ) -> None:
        self._accounts = accounts
        self._messages = messages
        self._outbox_rows = outbox_rows
        self._idempotency = idempotency
        self._announcer = announcer
        self._commit = commit
        self._cancel_job = cancel_job
        self._letter_gone = letter_gone
        self._enclosing = enclosing
        self._attach = attach
        self._check_window = check_window
        self._check_template = check_template
        self._opted_out = opted_out
        self._recipient = recipient
        self._check_content = check_content
        self._ids = ids
        self._now_ms = now_ms
        self._metrics = metrics

    # --- submit: validate, then one commit holds the message and its job ---

    async def submit(self, request: Submit) -> Submitted:
        """Accept a message. When this returns, it is committed and will be sent.

        Raises NotFound (connection), InvalidInput (naming field and rule), Conflict (the connection is closed, the id
        exists, or the idempotency key came with another body).
        """
        try:
            return await self._submit(request)
        except (Conflict, InvalidInput):
            # A repeat gets the first answer, also when the connection was closed or the message expired meanwhile.
            first = await self._first_answer(request)
            if first is None:
                raise
            return first

    async def prepared(self, request: Submit) -> Prepared:
        """Check a message, and make what is committed for it. Raises as `submit`."""
        connection = await self._accounts.find(request.tenant, request.connection_id)
        if connection is None:
            raise NotFound(f"there is no connection {request.connection_id}")
        if connection.state in (SessionState.CLOSING, SessionState.CLOSED):
            raise Conflict(f"connection {request.connection_id} is {connection.state}")
        message = self._message_of(request, await self._checked(request, connection))
        files = await self._attach(
            message.tenant,
            message.id,
            message.type,
            message.payload,
            send_at=message.send_at,
            of_connection=message.connection_id if request.bound else None,
        )
        message = message if files.payload is message.payload else replace(message, payload=files.payload)
        return Prepared(message, self.send_job(message, at=message.created_at), files.changes)

    async def _submit(self, request: Submit) -> Submitted:
        message, job, changes = await self.prepared(request)
        if request.idempotency_key is not None:
            return await self._submit_once(request, message, job, changes)
        added: Change = self._messages.added(message)
        if request.message_id is not None:
            added = self._messages.added_new(message)
        if await self._commit(added, *changes, jobs=[job]) is None:
            raise Conflict(f"message {message.id} exists already")
        self._metrics.submitted(message)
        return Submitted(id=message.id, job_id=job.id)

    async def _checked(self, request: Submit, connection: Connection) -> str:
        """Whom it goes to, after everything in it was checked. Raises InvalidInput."""
        peer = self._recipient(request.to)
        self._accounts.check_address(connection, peer)
        out = await self._opted_out(request.tenant, peer)
        if out is not None:
            rule = f"is contact {out.id}, who wants no messages ({out.opted_out_by}); it can opt in again"
            raise InvalidInput(FieldError("to", rule))
        await self._check_window(connection, peer, request.type)
        payload, can = orjson.loads(request.payload), self._accounts.capabilities(connection)
        self._check_content(request.type, payload, can, request.reply_to is not None)
        await self._check_template(connection, request.type, payload)
        await self._enclosing.check(
            tenant=request.tenant,
            connection_id=request.connection_id,
            peer=peer,
            type_=request.type,
            payload=payload,
            reply_to=request.reply_to,
        )
        return peer

    def _message_of(self, request: Submit, peer: str) -> Message:
        now = self._now_ms()
        if request.expires_at is not None and request.expires_at <= max(now, request.send_at or 0):
            raise InvalidInput(FieldError("expires_at", "must be later than now and than send_at"))
        return Message(
            tenant=request.tenant,
            id=request.message_id or self._ids.new("msg"),
            connection_id=request.connection_id,
            direction=Direction.OUTBOUND,
            status=S.QUEUED,
            peer=peer,
            type=request.type,
            payload=request.payload,
            priority=request.priority or PRIORITY,
            created_at=now,
            job_id=self._ids.new("job"),
            reply_to=request.reply_to,
            send_at=request.send_at,
            expires_at=request.expires_at,
        )

    def send_job(self, message: Message, *, at: int) -> Job:
        """The job that sends it, not before its `send_at`."""
        assert message.job_id is not None
        body = {
            "message_id": message.id,
            "connection_id": message.connection_id,
            "expires_at": message.expires_at,
            "to": message.peer,
        }
        return Job(
            id=message.job_id,
            queue=SEND,
            payload=orjson.dumps(body),
            priority=message.priority,
            created_at=at,
            lane=key_of(message.tenant, message.connection_id),
            due_at=message.send_at or 0,
            tenant=message.tenant,
        )

    async def _submit_once(self, request: Submit, message: Message, job: Job, changes: Sequence[Change]) -> Submitted:
        assert request.idempotency_key is not None
        assert request.fingerprint is not None
        first = orjson.dumps({"id": message.id, "job_id": job.id})
        claim = self._idempotency.claimed(
            request.tenant, _scope(request), request.idempotency_key, request.fingerprint, first, message.created_at
        )
        try:
            claimed = await self._commit(claim, self._messages.added(message), *changes, jobs=[job])
        except Conflict:  # the key stays free
            raise Conflict(f"message {message.id} exists already") from None
        if claimed is None:
            raise Conflict("this Idempotency-Key came before")
        self._metrics.submitted(message)
        return Submitted(id=message.id, job_id=job.id)

    async def _first_answer(self, request: Submit) -> Submitted | None:
        """What the first request with this key got. Raises Conflict when it was another one."""
        key = request.idempotency_key
        first = await self._idempotency.answer(request.tenant, _scope(request), key, request.fingerprint)
        return None if first is None else Submitted(**orjson.loads(first), repeated=True)

    # --- what a person may do ---

    async def retry(self, tenant: str, message_id: str) -> Message:
        """Queue a message again, ahead of the others. Raises NotFound, Conflict when its state does not allow it."""
        message = await self._existing(tenant, message_id)
        if message.status not in RETRYABLE:
            raise Conflict(f"a message that is {message.status} cannot be retried; {_names(RETRYABLE)} can")
        now = self._now_ms()
        again = _again(message, self._ids.new("job"))
        moved = self._messages.moved(
            tenant,
            message_id,
            to=S.QUEUED,
            frm=ONLY[message.status],
            at=now,
            job_id=again.job_id,
            priority=again.priority,
            send_at=None,
            expires_at=None,
        )
        changes = list(self._announcer.of_message("message.retried", message, at=now).changes)
        if message.job_id is not None:
            # The job of a failed message waits for its next try: this retry takes its place.
            await self._drop_job(message.job_id)
            changes.append(self._outbox_rows.removed(tenant, message.job_id))
            changes.append(self._letter_gone(tenant, SEND, message.job_id))
        row = await self._commit(moved, *changes, jobs=[self.send_job(again, at=now)])
        if row is None:
            raise Conflict("the message changed its state at this moment; look again")
        self._metrics.moved(message, S.QUEUED)
        return self._messages.of(row)

    async def cancel(self, tenant: str, message_id: str) -> Message:
        """Take a message back while it waits. Raises NotFound, Conflict when it may have left."""
        message = await self._existing(tenant, message_id)
        if message.status not in SOURCES[S.CANCELED]:
            raise Conflict(f"a message that is {message.status} cannot be canceled; {_names(SOURCES[S.CANCELED])} can")
        now = self._now_ms()
        event = self._announcer.of_message("message.canceled", message, at=now)
        moved = self._messages.moved(tenant, message_id, to=S.CANCELED, frm=ONLY[message.status], at=now)
        changes = list(event.changes)
        if message.job_id is not None:
            changes.append(self._outbox_rows.removed(tenant, message.job_id))
        row = await self._commit(moved, *changes, jobs=event.jobs)
        if row is None:
            raise Conflict("the message changed its state at this moment; look again")
        self._metrics.moved(message, S.CANCELED)
        if message.job_id is not None:
            await self._drop_job(message.job_id)
        return self._messages.of(row)

    async def _drop_job(self, job_id: str) -> None:
        # Redis being away does no harm: the job finds the message settled, or a new job finds that it was sent.
        with suppress(Unavailable):
            await self._cancel_job(SEND, job_id)

    async def _existing(self, tenant: str, message_id: str) -> Message:
        message = await self._messages.get(tenant, message_id)
        if message is None or message.direction is not Direction.OUTBOUND:
            raise NotFound(f"there is no outbound message {message_id}")
        return message


def _scope(request: Submit) -> str:
    return f"send:{request.connection_id}"


def _again(message: Message, job_id: str) -> Message:
    return replace(
        message, job_id=job_id, priority=max(message.priority, RETRY_PRIORITY), expires_at=None, send_at=None
    )


def _names(states: frozenset[MessageStatus]) -> str:
    return ", ".join(sorted(states))
