"""The life of a message: submit, send, receive, receipts."""

from zapd.contacts import Contacts, Words
from zapd.messaging.again import Again
from zapd.messaging.bulk import Bulk
from zapd.messaging.enclosed import Enclosing
from zapd.messaging.inbound import Inbounds
from zapd.messaging.metrics import MessageMetrics
from zapd.messaging.pace import Pace
from zapd.messaging.people import People
from zapd.messaging.presence import Presence
from zapd.messaging.receipts import Receipts
from zapd.messaging.receive import Receiver
from zapd.messaging.send import Sender
from zapd.messaging.spelling import Spelling
from zapd.messaging.submit import Messaging
from zapd.messaging.templates import Templates
from zapd.messaging.turns import Turns
from zapd.messaging.windows import Windows
from zapd.model.session import Connection
from zapd.parts.accounts import KINDS, Accounts
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.media import Media
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks
from zapd.whatsapp import content, numbers


class Messages:
    """What accepts messages, sends them, and takes what comes back."""

    def __init__(
        self, basis: Basis, storage: Storage, engine: Engine, webhooks: Webhooks, accounts: Accounts, media: Media
    ) -> None:
        commit, announcer, wires = engine.outbox.commit, webhooks.announcer, accounts.wires
        self.metrics = MessageMetrics(
            registry=basis.registry,
            transports=list(KINDS),
            types=list(content.PAYLOADS),
            transport_of=wires.transport_of,
        )
        again = Again(
            accounts=wires,
            job_of=lambda message, at: self.messaging.send_job(message, at=at),
            ids=basis.ids,
            now_ms=now_ms,
        )
        self.receipts = Receipts(
            messages=storage.messages,
            parked=storage.parked,
            announcer=announcer,
            commit=commit,
            now_ms=now_ms,
            metrics=self.metrics,
            another_try=again.job,
        )
        self.contacts = Contacts(
            rows=storage.contacts,
            announcer=announcer,
            commit=commit,
            ids=basis.ids,
            now_ms=now_ms,
            words=Words(out=basis.config.contacts.opt_out_words, back=basis.config.contacts.opt_in_words),
        )
        windows = Windows(accounts=wires, store=storage.windows, now_ms=now_ms)
        self.pace = Pace(
            peers=storage.peers,
            windows=storage.windows,
            limits_of=wires.limits,
            hold=accounts.hold_new_contacts,
            turns=Turns(store=storage.turns, windows=storage.windows, queued=storage.messages.queued, commit=commit),
            sent_since=storage.events.sent_since,
            now_ms=now_ms,
        )
        self.templates = templates = Templates(
            accounts=wires, store=storage.templates, announcer=announcer, commit=commit, now_ms=now_ms
        )
        people = People(
            contacts=self.contacts,
            pace=self.pace,
            accounts=wires,
            messages=storage.messages,
            commit=commit,
            templates=templates,
            trouble=accounts.sessions.hear,
            now_ms=now_ms,
        )
        self._spelling = spelling = Spelling(
            accounts=wires,
            peers=storage.peers,
            commit=commit,
            per_minute=lambda connection: wires.limits(connection).lookups_per_minute,
            now_ms=now_ms,
        )
        enclosing = Enclosing(messages=storage.messages, files_of=media.library.files_of)
        self.messaging = Messaging(
            accounts=wires,
            messages=storage.messages,
            outbox_rows=storage.outbox,
            idempotency=storage.idempotency,
            announcer=announcer,
            commit=commit,
            cancel_job=engine.broker.cancel,
            letter_gone=storage.dead_letters.removed,
            enclosing=enclosing,
            attach=media.library.attach,
            check_window=windows.check,
            check_template=templates.check,
            opted_out=self.contacts.opted_out,
            recipient=numbers.recipient,
            check_content=content.validate,
            ids=basis.ids,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        self.presence = Presence(accounts=wires, messages=storage.messages, windows=storage.windows)
        self.bulk = Bulk(
            prepare=self.messaging.prepared,
            messages=storage.messages,
            idempotency=storage.idempotency,
            commit=commit,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        self.sender = Sender(
            accounts=wires,
            messages=storage.messages,
            receipts=self.receipts,
            enclosing=enclosing,
            people=people,
            windows=windows,
            pace=self.pace,
            spelling=spelling,
            templates=templates,
            announcer=announcer,
            commit=commit,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        inbounds = Inbounds(
            messages=storage.messages,
            windows=storage.windows,
            downloads=media.downloads,
            announcer=announcer,
            commit=commit,
            on_aliases=people.learn,
            on_preference=people.prefers,
            on_template=templates.heard,
            ids=basis.ids,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        self.receiver = Receiver(
            accounts=wires,
            inbox=storage.inbox,
            receipts=self.receipts,
            inbounds=inbounds,
            people=people,
            commit=commit,
            ids=basis.ids,
            now_ms=now_ms,
        )

    def forget(self, connection: Connection) -> None:
        """The connection is closed: what was remembered of whom it wrote to goes."""
        self.pace.forget(connection)
        self._spelling.forget(connection)
