"""The life of a message: submit, send, receive, receipts."""

from zapd.messaging.enclosed import Enclosing
from zapd.messaging.metrics import MessageMetrics
from zapd.messaging.receipts import Receipts
from zapd.messaging.receive import Receiver
from zapd.messaging.send import Sender
from zapd.messaging.submit import Messaging
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
        commit, announcer, sessions = engine.outbox.commit, webhooks.announcer, accounts.sessions
        self.metrics = MessageMetrics(
            registry=basis.registry,
            transports=list(KINDS),
            types=[*content.PAYLOADS, "unknown"],
            transport_of=sessions.transport_of,
        )
        self.receipts = Receipts(
            messages=storage.messages, announcer=announcer, commit=commit, now_ms=now_ms, metrics=self.metrics
        )
        enclosing = Enclosing(messages=storage.messages, files_of=media.library.files_of)
        self.messaging = Messaging(
            accounts=sessions,
            messages=storage.messages,
            outbox_rows=storage.outbox,
            idempotency=storage.idempotency,
            announcer=announcer,
            commit=commit,
            cancel_job=engine.broker.cancel,
            enclosing=enclosing,
            attach=media.library.attach,
            recipient=numbers.recipient,
            check_content=content.validate,
            ids=basis.ids,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        self.sender = Sender(
            accounts=sessions,
            messages=storage.messages,
            receipts=self.receipts,
            enclosing=enclosing,
            announcer=announcer,
            commit=commit,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        self.receiver = Receiver(
            accounts=sessions,
            messages=storage.messages,
            inbox=storage.inbox,
            receipts=self.receipts,
            announcer=announcer,
            commit=commit,
            ids=basis.ids,
            now_ms=now_ms,
            metrics=self.metrics,
        )
