"""The transport of Meta's Cloud API. Source: wire facts §1.

Messages leave by HTTP; receipts and inbound messages come as webhooks (`cloud_webhook.py`), not through `on_raw`.
Meta has no idempotency key, so every send carries our message id as callback data: a status that echoes it proves that
a send with a lost answer did leave.
"""

from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zapd.errors import FieldError, InvalidInput
from zapd.model.message import Message
from zapd.model.session import Connection, SessionState
from zapd.whatsapp import cloud_webhook
from zapd.whatsapp.cloud_errors import to_error, to_problem
from zapd.whatsapp.cloud_pace import Pace
from zapd.whatsapp.life import Life
from zapd.whatsapp.numbers import is_business_scoped, is_phone
from zapd.whatsapp.transport import (
    NotConnected,
    OnRaw,
    OnState,
    PauseSession,
    Permanent,
    RetryAt,
    SendError,
    SendResult,
    StateChange,
    UnknownOutcome,
    Update,
)

Json = dict[str, Any]

PROBE_FIELDS = "verified_name,display_phone_number,quality_rating"
MAX_ANSWER = 64 * 1024  #: bytes of an answer that are read


class CloudConfig(BaseModel):
    """A connection's own settings. Secrets stay out of its repr."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    phone_number_id: str = Field(pattern=r"^[0-9]{1,32}$")
    waba_id: str = Field(default="", pattern=r"^[0-9]{0,32}$")
    access_token: str = Field(min_length=1, pattern=r"^[!-~]+$", repr=False)
    app_secret: str = Field(min_length=1, repr=False)
    verify_token: str = Field(min_length=1, repr=False)

    @classmethod
    def read(cls, config: bytes) -> "CloudConfig":
        """Parse a connection's stored JSON. Raises InvalidInput that names every wrong field, without its value."""
        try:
            return cls.model_validate_json(config or b"{}")
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
            fields = (FieldError(".".join(["config", *map(str, e["loc"])]), e["msg"]) for e in problems)
            raise InvalidInput(*fields) from None


class CloudTransport:
    """One phone number. `timeout` bounds a whole call, `connect_timeout` the part in which nothing is written yet."""

    capabilities = frozenset({"text", "template"})

    def __init__(
        self,
        *,
        connection: Connection,
        http: aiohttp.ClientSession,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        base_url: str = "https://graph.facebook.com",
        version: str = "v25.0",
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
    ) -> None:
        self.config = CloudConfig.read(connection.config)
        self._http = http
        self._now_ms = now_ms
        self._pace = Pace(random=random)
        self._url = f"{base_url.rstrip('/')}/{version}/{self.config.phone_number_id}"
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=connect_timeout)
        self._life = Life(name=f"cloud:{connection.id}")
        self._up = False

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:  # noqa: ARG002 - webhooks come by HTTP
        """Ask Meta whether number and token work, then be connected."""
        self._life.begin(lambda: self._probe(on_state), on_state=on_state)

    async def stop(self) -> None:
        """Refuse sends. There is no connection to close."""
        self._up = False
        await self._life.end()

    async def send(self, message: Message) -> SendResult:
        """Send one message. Raises a SendError."""
        if not self._up:
            raise NotConnected("stopped")
        body = _body(message)
        try:
            answer = await self._call("POST", f"{self._url}/messages", json=body)
        except SendError as error:
            raise self._pace.slowed(error, message.peer) from error.__cause__
        self._pace.succeeded(message.peer)
        return self._result(answer)

    def parse(self, raw: bytes) -> Sequence[Update]:
        """The updates in a webhook's body. Raises ValueError."""
        return cloud_webhook.parse(raw, phone_number_id=self.config.phone_number_id)

    async def _probe(self, on_state: OnState) -> None:
        try:
            await self._call("GET", f"{self._url}?fields={PROBE_FIELDS}")
        except PauseSession as error:
            await on_state(StateChange(state=error.state, reason=error.code))
        except Permanent as error:
            await on_state(StateChange(state=SessionState.FAILED, reason=f"refused_{error.code}"))
        except SendError as error:
            await on_state(StateChange(state=SessionState.RECONNECTING, reason=error.code))
        else:
            self._up = True
            await on_state(StateChange(state=SessionState.CONNECTED))

    async def _call(self, method: str, url: str, *, json: Json | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self.config.access_token}", "Content-Type": "application/json"}
        data = orjson.dumps(json) if json is not None else None
        try:
            async with self._http.request(
                method, url, data=data, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as answer:
                body = await _read(answer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RetryAt("unreachable", type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnknownOutcome("no_answer", type(error).__name__) from error
        if answer.status // 100 == 2:
            return body
        raise to_error(to_problem(answer.status, body, answer.headers.get("Retry-After")))

    def _result(self, answer: bytes) -> SendResult:
        try:
            told = orjson.loads(answer)
            provider_id = str(told["messages"][0]["id"])
        except (ValueError, LookupError, TypeError) as error:
            raise UnknownOutcome("answer_without_id") from error
        contact: Json = next(iter(told.get("contacts") or []), {})
        peer = contact.get("wa_id") or contact.get("user_id")
        return SendResult(provider_id=provider_id, accepted_at=self._now_ms(), peer=str(peer) if peer else None)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) >= MAX_ANSWER:
            break
    return bytes(body)


def _body(message: Message) -> Json:
    if is_phone(message.peer):
        # Without the + Meta puts the business's own country code in front.
        whom = {"to": f"+{message.peer}"}
    elif is_business_scoped(message.peer):
        whom = {"recipient": message.peer}
    else:
        raise Permanent("unsupported_recipient", "the Cloud API sends to phone numbers and business-scoped user ids")
    payload = orjson.loads(message.payload)
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **whom,
        "type": message.type,
        message.type: _CONTENT[message.type](payload),
        **({"context": {"message_id": message.reply_to}} if message.reply_to else {}),
        "biz_opaque_callback_data": f"{cloud_webhook.CALLBACK_PREFIX}{message.id}",
    }


def _text(payload: Json) -> Json:
    return {"body": payload["text"], "preview_url": payload.get("preview_url", False)}


def _template(payload: Json) -> Json:
    components = payload.get("components")
    language = {"code": payload["language"]}
    return {"name": payload["name"], "language": language} | ({"components": components} if components else {})


_CONTENT: dict[str, Callable[[Json], Json]] = {"text": _text, "template": _template}
