"""One function for each kind of action: what it does when its turn comes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import orjson

from zapd.announce import PUBLIC
from zapd.errors import Conflict, InvalidInput, NotFound, TooManyRequests
from zapd.events.acting import ActionFailed, Doing, Effect
from zapd.events.email import Mailer, MailFailed
from zapd.events.envelope import Envelopes, context_of
from zapd.events.listeners import ListenerFailed, Listeners
from zapd.events.standing_templates import StandingTemplates
from zapd.events.targets import KEPT_ANSWER, Targets, body_of
from zapd.jobs.job import Job
from zapd.model.webhook import Category, Event
from zapd.store.commands import Change

#: (tenant, connection, to, type, payload, message id) → None. Raises NotFound, InvalidInput, Conflict.
Submit = Callable[[str, str, str, str, bytes, str], Awaitable[None]]


class Doers:
    """What each kind of action does. Every method raises ActionFailed."""

    def __init__(
        self,
        *,
        targets: Targets,
        mailer: Mailer,
        listeners: Listeners,
        standing: StandingTemplates,
        envelopes: Envelopes,
        submit: Submit,
        submitted: Callable[[str, str], Awaitable[bool]],
        post: Callable[[str, str, bytes], Awaitable[None]],
        unseal: Callable[[str], str],
        deliver_to: Callable[[Event, str], tuple[Sequence[Change], Sequence[Job]]],
        own_queues: Callable[[], frozenset[str]],
        start_sync: Callable[[str, str], Awaitable[str]],
        now_ms: Callable[[], int],
    ) -> None:
        self._targets = targets
        self._mailer = mailer
        self._listeners = listeners
        self._standing = standing
        self._envelopes = envelopes
        self._submit = submit
        self._submitted = submitted
        self._post = post
        self._unseal = unseal
        self._deliver_to = deliver_to
        self._own_queues = own_queues
        self._start_sync = start_sync
        self._now_ms = now_ms

    def by_kind(self) -> Mapping[str, Callable[[Doing], Awaitable[Effect]]]:
        """The functions, by the name of the kind."""
        return {
            "deliver": self.deliver,
            "send": self.send,
            "email": self.email,
            "notify": self.notify,
            "enqueue": self.enqueue,
            "emit": self.emit,
            "listener": self.listener,
            "sync": self.sync,
        }

    async def deliver(self, doing: Doing) -> Effect:
        """To a target, or to an endpoint as a webhook with its own tries."""
        payload = doing.payload
        if "endpoint" in payload:
            changes, jobs = self._deliver_to(doing.event, payload["endpoint"])
            if not changes:
                raise ActionFailed(f"endpoint {payload['endpoint']} is not there, or is disabled", final=True)
            return Effect("handed to the endpoint", changes, jobs)
        body, kind = body_of(payload)
        ours = {"Idempotency-Key": doing.row.id, "X-Zapd-Event": doing.event.type, "X-Zapd-Event-Id": doing.event.id}
        answer = await self._targets.call(
            doing.row.tenant,
            doing.row.place,
            payload["method"],
            payload["path"],
            body=None if payload["method"] == "GET" else body,
            headers={**kind, **ours, **payload["headers"]},
        )
        return Effect(str(answer.status), answer=answer.body[:KEPT_ANSWER])

    async def send(self, doing: Doing) -> Effect:
        """A WhatsApp message; its id is made of the action's, so that a repeat is no second message."""
        payload = doing.payload
        text = orjson.dumps(payload["payload"])
        return await self._message(doing, payload["connection"], payload["to"], payload["type"], text)

    async def _message(self, doing: Doing, connection: str, to: str, type_: str, payload: bytes) -> Effect:
        message_id = "msg_" + doing.row.id.removeprefix("act_")
        try:
            await self._submit(doing.row.tenant, connection, to, type_, payload, message_id)
        except Conflict as error:
            if not await self._submitted(doing.row.tenant, message_id):
                raise ActionFailed(str(error)) from None
        except (NotFound, InvalidInput) as error:
            raise ActionFailed(str(error), final=True) from None
        except TooManyRequests as error:
            raise ActionFailed(str(error), after=error.retry_after, counts=False) from None
        return Effect(message_id)

    async def email(self, doing: Doing) -> Effect:
        """An e-mail: rendered already, or by a standing template."""
        payload = doing.payload
        if "template" in payload:
            texts = await self._standing.email(payload["template"], context_of(doing.event, doing.state))
        else:
            texts = {"subject": payload["subject"], "text": payload.get("text", ""), "html": payload.get("html", "")}
        return await self._mail(doing, payload["to"], texts)

    async def _mail(self, doing: Doing, to: str, texts: Mapping[str, str]) -> Effect:
        try:
            said = await self._mailer.send(
                to=to, subject=texts["subject"], text=texts["text"], html=texts["html"], key=doing.row.id
            )
        except MailFailed as error:
            raise ActionFailed(str(error), final=error.final) from None
        return Effect(said)

    async def notify(self, doing: Doing) -> Effect:
        """A Slack incoming webhook."""
        body = orjson.dumps({"text": doing.payload["text"]})
        await self._post(doing.row.tenant, self._unseal(doing.payload["url"]), body)
        return Effect("posted")

    async def enqueue(self, doing: Doing) -> Effect:
        """A job in a queue of the operator's."""
        queue, payload = doing.row.place, doing.payload
        if queue not in self._own_queues():
            raise ActionFailed(f"there is no queue {queue} of the operator's", final=True)
        job = Job(
            id="job_" + doing.row.id.removeprefix("act_"),
            queue=queue,
            kind=payload["kind"],
            payload=orjson.dumps(payload["payload"]),
            priority=payload["priority"],
            created_at=self._now_ms(),
            tenant=doing.row.tenant,
        )
        return Effect(job.id, jobs=[job])

    async def emit(self, doing: Doing) -> Effect:
        """Another event, which goes through the routes itself."""
        if doing.row.place in PUBLIC:
            raise ActionFailed(f"{doing.row.place} is one of zapd's own types", final=True)
        new = self._envelopes.made(
            tenant=doing.row.tenant,
            type=doing.row.place,
            data=doing.payload["data"],
            category=Category.OWN,
            at=self._now_ms(),
            source=doing.state.source,
            cause=doing.state,
        )
        return Effect(new.event.id, self._envelopes.changes(new), [self._envelopes.job(new.state)])

    async def sync(self, doing: Doing) -> Effect:
        """Begin a sync, unless it is under way."""
        try:
            return Effect(await self._start_sync(doing.row.tenant, doing.row.place))
        except NotFound as error:
            raise ActionFailed(str(error), final=True) from None
        except Conflict as error:
            return Effect(str(error))

    async def listener(self, doing: Doing) -> Effect:
        """A listener: the two that zapd brings, or a callable of the operator's."""
        name: str = doing.payload["name"]
        context = context_of(doing.event, doing.state)
        if name == "email":
            texts = await self._standing.email(doing.event.type, context)
            return await self._mail(doing, self._standing.email_address(context), texts)
        if name == "whatsapp":
            to, text = await self._standing.whatsapp(doing.event.type, context)
            return await self._message(doing, self._standing.connection, to, "text", orjson.dumps({"text": text}))
        try:
            return Effect(await self._listeners.call(name, context))
        except ListenerFailed as error:
            raise ActionFailed(str(error), final=error.final) from None
