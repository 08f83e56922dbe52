"""The transport of Z-API (z-api.io): WhatsApp Web, run by somebody else. Source: wire facts §2.

Messages leave by HTTP; receipts, inbound messages and the state of the line come as webhooks (`zapi_webhook.py`). Z-API
signs nothing and repeats nothing, so that a callback that was lost is found by asking: `health` polls the status.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import structlog
from pydantic import ConfigDict, Field

from zapd.errors import InvalidInput
from zapd.model.message import Message
from zapd.model.session import Connection, SessionState
from zapd.whatsapp import zapi_webhook
from zapd.whatsapp.advice import QR_TIMEOUT
from zapd.whatsapp.life import Life
from zapd.whatsapp.settings import TransportConfig
from zapd.whatsapp.transport import (
    LOOKUP,
    NOTHING,
    PAIR,
    READ,
    REPLY,
    Aliases,
    Enclosed,
    Health,
    NotConnected,
    OnRaw,
    OnState,
    PauseSession,
    Permanent,
    QrCode,
    RemoteMedia,
    Resolved,
    RetryAt,
    SendError,
    SendResult,
    StateChange,
    Target,
    UnknownOutcome,
    Unsupported,
    Update,
)
from zapd.whatsapp.zapi_body import KINDS, operation, phone_of
from zapd.whatsapp.zapi_client import ZapiClient

log = structlog.get_logger("zapd.whatsapp")

QR_LIFE = 20.0  #: seconds that a code can be scanned
QR_CODES = 3  #: that are shown; Z-API asks not to poll for more before a person has looked
CODE_LIFE = 180.0  #: seconds that a typed code is waited for
POLL = 5.0  #: seconds between looks whether it was scanned

Fetch = Callable[[str], AsyncIterator[bytes]]  #: the content of a URL that a stranger may have written


class ZapiConfig(TransportConfig):
    """A connection's own settings. Secrets stay out of its repr.

    `webhook_secret` is the last part of the path that Z-API calls back; made when not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    instance_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    instance_token: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$", repr=False)
    client_token: str = Field(min_length=1, max_length=256, pattern=r"^[!-~]+$", repr=False)
    webhook_secret: str = Field(default="", pattern=r"^([A-Za-z0-9_-]{16,128})?$", repr=False)


class ZapiTransport:
    """One instance. `hook_url`: where Z-API is to send its webhooks; None leaves what its panel says."""

    capabilities = frozenset({*KINDS, REPLY, READ, LOOKUP, PAIR})

    def __init__(
        self,
        *,
        connection: Connection,
        http: aiohttp.ClientSession,
        fetch: Fetch,
        now_ms: Callable[[], int],
        base_url: str = "https://api.z-api.io",
        hook_url: str | None = None,
        poll: float = POLL,
        qr_life: float = QR_LIFE,
    ) -> None:
        self.config = ZapiConfig.read(connection.config)
        self._client = ZapiClient(
            http=http,
            base_url=base_url,
            instance_id=self.config.instance_id,
            instance_token=self.config.instance_token,
            client_token=self.config.client_token,
        )
        self._id = connection.id
        self._fetch = fetch
        self._now_ms = now_ms
        self._hook_url = hook_url
        self._poll = poll
        self._qr_life = qr_life
        self._life = Life(name=f"zapi:{connection.id}")
        self._on_state: OnState | None = None
        self._up = False
        self._pair_until = 0.0  # by the loop's clock

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:  # noqa: ARG002 - webhooks come by HTTP
        """Ask for the instance's state; show codes until it is linked."""
        self._on_state = on_state
        self._life.begin(lambda: self._connect(on_state), on_state=on_state)

    async def stop(self) -> None:
        """Refuse sends. The instance stays linked at Z-API."""
        self._up, self._on_state = False, None
        await self._life.end()

    async def pair(self, *, phone: str | None = None) -> None:
        """With `phone`, a code to type there; without, more codes to scan. Raises a SendError."""
        if self._on_state is None:
            raise NotConnected("stopped")
        if phone is None:
            self._pair_until = asyncio.get_running_loop().time() + QR_CODES * self._qr_life
            return
        code = _value(await self._client.call("GET", f"phone-code/{phone}"))
        self._pair_until = asyncio.get_running_loop().time() + CODE_LIFE
        at = self._now_ms() + round(CODE_LIFE * 1000)
        await self._on_state(QrCode(text=code, expires_at=at, typed=True))

    async def logout(self) -> None:
        """Unlink the account from the instance. Raises a SendError."""
        await self._client.call("GET", "disconnect")

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:
        """Send one message. Raises a SendError."""
        self._check_up()
        call = operation(message, enclosed)
        try:
            answer = await self._client.call(call.method, call.name, call.body, query=call.query or None)
        except NotConnected as error:
            await self._lost(error)
            raise
        return SendResult(provider_id=_id_in(answer, call.made_id), accepted_at=self._now_ms())

    async def mark_read(self, target: Target) -> None:
        """Mark one inbound message as read. Raises a SendError."""
        self._check_up()
        await self._client.call(
            "POST", "read-message", {"phone": phone_of(target.peer), "messageId": target.provider_id}
        )

    async def typing(self, peer: str, *, last: Target | None) -> None:  # noqa: ARG002
        """Z-API shows it only as part of a send."""
        raise Unsupported("typing")

    async def download(self, media: RemoteMedia) -> AsyncIterator[bytes]:
        """A file as Z-API keeps it, for 30 days. Raises a SendError."""
        try:
            async for piece in self._fetch(zapi_webhook.url_of(media)):
                yield piece
        except InvalidInput as error:
            raise RetryAt("not_fetched", str(error)) from error

    async def resolve_number(self, candidates: Sequence[str]) -> Resolved | None:
        """Z-API tells the number as WhatsApp spells it, the ninth digit solved. Raises a SendError."""
        self._check_up()
        answer = await self._client.call("POST", "phone-exists-batch", {"phones": list(candidates)})
        found_all = [found for found in answer if isinstance(found, dict)] if isinstance(answer, list) else []
        if not found_all:
            raise UnknownOutcome("answer_without_numbers")  # which is not the word that nobody is there
        for found in found_all:
            if found.get("exists") in (True, "true"):
                number = str(found.get("outputPhone") or found.get("inputPhone"))
                return Resolved(peer=number, aliases=Aliases(wa_id=number, lid=found.get("lid") or None))
        return None

    async def health(self) -> Health:
        """Ask for the instance's state. Raises a SendError."""
        self._check_up()
        status = await self._status()
        return Health(alive=status["connected"] is True, detail=None if status["connected"] else "disconnected")

    def parse(self, raw: bytes) -> Sequence[Update]:
        """The updates in a webhook's body. Raises ValueError."""
        return zapi_webhook.parse(raw, instance_id=self.config.instance_id)

    async def _connect(self, on_state: OnState) -> None:
        try:
            if not (await self._status())["connected"]:
                await on_state(StateChange(state=SessionState.QR_PENDING))
                if not await self._linked(on_state):
                    await on_state(StateChange(state=SessionState.FAILED, reason=QR_TIMEOUT))
                    return
            await self._settle()
        except PauseSession as error:
            await on_state(StateChange(state=error.state, reason=error.code))
        except Permanent as error:
            await on_state(StateChange(state=SessionState.FAILED, reason=f"refused: {error.detail}"))
        except SendError as error:
            await on_state(StateChange(state=SessionState.RECONNECTING, reason=error.code))
        else:
            self._up = True
            await on_state(StateChange(state=SessionState.CONNECTED))

    async def _linked(self, on_state: OnState) -> bool:
        """Show codes until one was used. False: nobody did."""
        loop = asyncio.get_running_loop()
        self._pair_until = max(self._pair_until, loop.time() + QR_CODES * self._qr_life)
        shown_at = -self._qr_life
        while loop.time() < self._pair_until:
            if loop.time() - shown_at >= self._qr_life:
                code = _value(await self._client.call("GET", "qr-code"))
                shown_at = loop.time()
                if code:
                    at = self._now_ms() + round(self._qr_life * 1000)
                    await on_state(QrCode(text=code, expires_at=at))
            await asyncio.sleep(self._poll)
            if (await self._status())["connected"]:
                return True
        return False

    async def _settle(self) -> None:
        """zapd has the queue: Z-API must not keep one of its own that it fires when the line is back."""
        await self._client.call("PUT", "update-queue-settings", {"disableEnqueueWhenDisconnected": True})
        if self._hook_url is not None:
            hooks = {"value": self._hook_url, "notifySentByMe": True}
            try:
                await self._client.call("PUT", "update-every-webhooks", hooks)
            except (Permanent, UnknownOutcome) as error:  # the panel may have them; sends work all the same
                log.warning("zapi.webhooks_not_set", connection_id=self._id, error=str(error))

    async def _status(self) -> dict[str, Any]:
        answer = await self._client.call("GET", "status")
        if not isinstance(answer, dict) or not isinstance(answer.get("connected"), bool):
            raise UnknownOutcome("answer_without_state")
        return answer

    async def _lost(self, error: NotConnected) -> None:
        self._up = False
        if self._on_state is not None:
            await self._on_state(StateChange(state=SessionState.RECONNECTING, reason="disconnected"))
        log.info("zapi.disconnected", connection_id=self._id, said=error.detail)

    def _check_up(self) -> None:
        if not self._up:
            raise NotConnected("stopped")


def _value(answer: Any) -> str:
    """What a call that gives one text gave: the text, or an object around it."""
    if isinstance(answer, dict):
        answer = answer.get("value") or answer.get("code") or ""
    return str(answer).strip().strip('"')


def _id_in(answer: Any, made_id: str | None) -> str:
    told = answer if isinstance(answer, dict) else {}
    found = told.get("messageId") or told.get("id") or told.get("zaapId") or made_id
    if not found:
        raise UnknownOutcome("answer_without_id")
    return str(found)
