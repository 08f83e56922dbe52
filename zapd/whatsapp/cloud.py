"""The transport of Meta's Cloud API. Source: wire facts §1.

Messages leave by HTTP; receipts and inbound messages come as webhooks (`cloud_webhook.py`), not through `on_raw`.
Meta has no idempotency key, so every send carries our message id as callback data: a status that echoes it proves that
a send with a lost answer did leave.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import orjson
from pydantic import ConfigDict, Field

from zapd.model.message import Message
from zapd.model.session import Connection, SessionState
from zapd.whatsapp import cloud_webhook
from zapd.whatsapp.cloud_body import body_of, read_body
from zapd.whatsapp.cloud_client import CloudClient
from zapd.whatsapp.cloud_media import CloudMedia, Uploads
from zapd.whatsapp.cloud_pace import Pace
from zapd.whatsapp.content.interactive import INTERACTIVE
from zapd.whatsapp.life import Life
from zapd.whatsapp.settings import TransportConfig
from zapd.whatsapp.transport import (
    NOTHING,
    READ,
    REPLY,
    TYPING,
    Enclosed,
    Health,
    NotConnected,
    OnRaw,
    OnState,
    PauseSession,
    Peek,
    Permanent,
    RemoteMedia,
    Resolved,
    SendError,
    SendResult,
    StateChange,
    Target,
    UnknownOutcome,
    Unsupported,
    Update,
)

Json = dict[str, Any]

WINDOW = 86_400.0  #: seconds
PROBE_FIELDS = "verified_name,display_phone_number,quality_rating"


CAPABILITIES = frozenset(
    {
        *("text", "image", "video", "audio", "document", "sticker", "location", "contacts", "reaction", "template"),
        *("interactive", *(f"interactive.{kind}" for kind in INTERACTIVE)),
        *(REPLY, READ, TYPING),
    }
)


class CloudConfig(TransportConfig):
    """A connection's own settings. Secrets stay out of its repr."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    phone_number_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")  #: Meta's are digits; a test server's need not be
    waba_id: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    access_token: str = Field(min_length=1, pattern=r"^[!-~]+$", repr=False)
    app_secret: str = Field(min_length=1, repr=False)
    verify_token: str = Field(min_length=1, repr=False)
    enforce_window: bool = True  #: refuse at accept what Meta refuses outside of the 24 h window


class CloudTransport:
    """One phone number. The timeouts are `CloudClient`'s."""

    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        connection: Connection,
        http: aiohttp.ClientSession,
        uploads: Uploads,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        base_url: str = "https://graph.facebook.com",
        version: str = "v25.0",
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
    ) -> None:
        self.config = CloudConfig.read(connection.config)
        self._client = CloudClient(
            http=http,
            base_url=f"{base_url.rstrip('/')}/{version}",
            token=self.config.access_token,
            timeout=timeout,
            connect_timeout=connect_timeout,
        )
        self._now_ms = now_ms
        self._pace = Pace(random=random)
        self._number = self.config.phone_number_id
        name = f"cloud:{connection.id}"
        self._media = CloudMedia(client=self._client, number=self._number, uploads=uploads, name=name)
        self._life = Life(name=name)
        self._up = False

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:  # noqa: ARG002 - webhooks come by HTTP
        """Ask Meta whether number and token work, then be connected."""
        self._life.begin(lambda: self._probe(on_state), on_state=on_state)

    async def stop(self) -> None:
        """Refuse sends. There is no connection to close."""
        self._up = False
        await self._life.end()
        await self._media.close()

    async def pair(self, *, phone: str | None = None) -> None:  # noqa: ARG002 - nothing to pair
        """A number of the Cloud API is not paired: its token says whose it is."""
        raise Unsupported("pair")

    async def logout(self) -> None:
        """There is nothing to unlink: the token is the operator's."""

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:
        """Send one message. Raises a SendError."""
        self._check_up()
        uploaded = await self._media.uploaded(enclosed.media)
        body = body_of(message, target=enclosed.target, uploaded=uploaded)
        try:
            answer = await self._client.call("POST", f"{self._number}/messages", json=body)
        except SendError as error:
            raise self._pace.slowed(error, message.peer) from error.__cause__
        self._pace.succeeded(message.peer)
        return self._result(answer)

    async def mark_read(self, target: Target) -> None:
        """Mark an inbound message, and all before it, as read. Raises a SendError."""
        await self._mark(read_body(target))

    async def typing(self, peer: str, *, last: Target | None) -> None:  # noqa: ARG002 - Meta goes by the message
        """Typing shows for 25 s or until the next message; Meta knows it only together with `read`."""
        if last is None:
            raise Permanent("nothing_to_answer", "the contact has written no message yet")
        await self._mark(read_body(last, typing=True))

    def download(self, media: RemoteMedia) -> AsyncIterator[bytes]:
        """What a contact sent. Needs no connection; raises a SendError."""
        return self._media.download(media)

    async def resolve_number(self, candidates: Sequence[str]) -> Resolved | None:  # noqa: ARG002 - no lookup
        """Meta has no lookup: it names the right id in the answer to a send."""
        raise Unsupported("resolve_number")

    async def health(self) -> Health:
        """Ask for the number's own data: whether it can still be reached with this token."""
        self._check_up()
        try:
            await self._client.call("GET", self._number, query={"fields": PROBE_FIELDS})
        except SendError as error:
            return Health(alive=False, detail=error.code)
        return Health(alive=True, last_frame_at=self._now_ms())

    def parse(self, raw: bytes) -> Sequence[Update]:
        """The updates in a webhook's body. Raises ValueError."""
        return parse(self.config, raw)

    async def _probe(self, on_state: OnState) -> None:
        try:
            await self._client.call("GET", self._number, query={"fields": PROBE_FIELDS})
        except PauseSession as error:
            await on_state(StateChange(state=error.state, reason=error.code))
        except Permanent as error:
            await on_state(StateChange(state=SessionState.FAILED, reason=f"refused_{error.code}"))
        except SendError as error:
            await on_state(StateChange(state=SessionState.RECONNECTING, reason=error.code))
        else:
            self._up = True
            await on_state(StateChange(state=SessionState.CONNECTED))

    async def _mark(self, body: Json) -> None:
        self._check_up()
        await self._client.call("POST", f"{self._number}/messages", json=body)

    def _check_up(self) -> None:
        if not self._up:
            raise NotConnected("stopped")

    def _result(self, answer: bytes) -> SendResult:
        try:
            told = orjson.loads(answer)
            provider_id = str(told["messages"][0]["id"])
        except (ValueError, LookupError, TypeError) as error:
            raise UnknownOutcome("answer_without_id") from error
        contact: Json = next(iter(told.get("contacts") or []), {})
        peer = contact.get("wa_id") or contact.get("user_id")
        return SendResult(provider_id=provider_id, accepted_at=self._now_ms(), peer=str(peer) if peer else None)


def parse(config: CloudConfig, raw: bytes) -> Sequence[Update]:
    """The updates of one number in a webhook's body. Raises ValueError."""
    return cloud_webhook.parse(raw, phone_number_id=config.phone_number_id, waba_id=config.waba_id)


def peek(config: CloudConfig, raw: bytes) -> Peek:
    """What kinds of updates of this number a webhook's body has. Raises ValueError."""
    return cloud_webhook.peek(raw, phone_number_id=config.phone_number_id, waba_id=config.waba_id)


def account(config: CloudConfig) -> str:
    """The business account whose templates a number sends, where it is known."""
    return config.waba_id


def window(config: CloudConfig) -> float | None:
    """For how many seconds after a contact's message one may write freely."""
    return WINDOW if config.enforce_window else None
