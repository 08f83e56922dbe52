"""The life of a message: submit, send, receive, receipts."""

from zapd.messaging.enclosed import Enclosing
from zapd.messaging.inbound import Inbounds
from zapd.messaging.metrics import MessageMetrics
from zapd.messaging.presence import Presence
from zapd.messaging.receipts import Receipts
from zapd.messaging.receive import Receiver
from zapd.messaging.send import Sender
from zapd.messaging.submit import Messaging
from zapd.messaging.windows import Windows
from zapd.model.session import Connection
from zapd.parts.accounts import KINDS, Accounts
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.media import Media
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks
from zapd.whatsapp import content, numbers
from zapd.whatsapp.transport import AliasChange, Inbound


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
            check_window=Windows(accounts=sessions, store=storage.windows, now_ms=now_ms).check,
            recipient=numbers.recipient,
            check_content=content.validate,
            ids=basis.ids,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        self.presence = Presence(accounts=sessions, messages=storage.messages, windows=storage.windows)
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
        inbounds = Inbounds(
            messages=storage.messages,
            windows=storage.windows,
            downloads=media.downloads,
            announcer=announcer,
            commit=commit,
            on_aliases=_nothing_learnt,
            ids=basis.ids,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        self.receiver = Receiver(
            accounts=sessions,
            inbox=storage.inbox,
            receipts=self.receipts,
            inbounds=inbounds,
            commit=commit,
            ids=basis.ids,
            now_ms=now_ms,
        )


async def _nothing_learnt(_connection: Connection, _update: Inbound | AliasChange) -> None:
    """Nobody keeps contacts yet."""
