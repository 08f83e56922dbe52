"""Meta's Cloud API for tests, over real HTTP: takes messages, makes trouble, sends signed webhooks (wire facts §1)."""

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

import aiohttp
import orjson
from aiohttp import web

Json = dict[str, Any]
Trouble = Callable[[web.Request], Awaitable[web.StreamResponse]]

TOKEN, APP_SECRET, VERIFY_TOKEN, NUMBER = "EAAtoken", "app-secret", "verify-me", "1065"
CONFIG: dict[str, object] = {
    "phone_number_id": NUMBER,
    "waba_id": "77",
    "access_token": TOKEN,
    "app_secret": APP_SECRET,
    "verify_token": VERIFY_TOKEN,
}


def sign(raw: bytes, app_secret: str = APP_SECRET) -> str:
    """The value of X-Hub-Signature-256."""
    return "sha256=" + hmac.new(app_secret.encode(), raw, hashlib.sha256).hexdigest()


def webhook_body(value: Json, *, number: str = NUMBER, field: str = "messages") -> Json:
    """A webhook with one change."""
    metadata = {"display_phone_number": "5511400000000", "phone_number_id": number}
    value = {"messaging_product": "whatsapp", "metadata": metadata, **value}
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "77", "changes": [{"field": field, "value": value}]}],
    }


def status(provider_id: str, kind: str, *, echo: str | None = None, **fields: object) -> Json:
    """One item of `statuses`."""
    echoed = {"biz_opaque_callback_data": echo} if echo else {}
    return {"id": provider_id, "status": kind, "timestamp": "1750030073", "recipient_id": "55", **echoed, **fields}


def text_message(provider_id: str, text: str, *, sender: str = "5511987654321") -> Json:
    """One item of `messages`."""
    return {"from": sender, "id": provider_id, "timestamp": "1749416383", "type": "text", "text": {"body": text}}


class FakeMeta:
    """One number. Troubles that are queued are met by the next calls, in order; `accepted` has the bodies taken."""

    def __init__(self, *, receipts: bool = False) -> None:
        self.url = ""
        self.accepted: list[Json] = []
        self.read: list[Json] = []  #: the messages that were marked as read
        self.webhook_url: str | None = None  #: signed webhooks go here
        self.files: dict[str, tuple[str, bytes]] = {}  #: media id → type and content, uploaded or sent by a contact
        self.uploads = 0
        self._receipts = receipts  # sent, delivered and read follow every message
        self._send_troubles: deque[Trouble] = deque()
        self._probe_troubles: deque[Trouble] = deque()
        self._media_troubles: deque[Trouble] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=128 * 1024 * 1024)
        app.router.add_get("/{version}/{number}", self._get)
        app.router.add_post("/{version}/{number}/media", self._upload)
        app.router.add_get("/attachments", self._content)
        app.router.add_post("/{version}/{number}/messages", self._send)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._client = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
        await self.go_away()

    async def go_away(self) -> None:
        """Close every connection and refuse new ones."""
        await self._runner.cleanup()

    def refuse(self, code: int, http: int = 400, *, times: int = 1, probe: bool = False, **more: object) -> None:
        """Answer with an error of Meta's; `more` goes into its error object, `retry_after` into the header."""
        headers = {"Retry-After": str(more.pop("retry_after"))} if "retry_after" in more else {}
        body = orjson.dumps({"error": {"message": f"(#{code}) no", "code": code, "fbtrace_id": "A", **more}})
        self.answer(http, body, times=times, probe=probe, headers=headers)

    def answer(
        self, http: int, body: bytes, *, times: int = 1, probe: bool = False, headers: dict[str, str] | None = None
    ) -> None:
        """Answer with this status and body."""

        async def trouble(_: web.Request) -> web.StreamResponse:
            return web.Response(status=http, body=body, headers=headers)

        (self._probe_troubles if probe else self._send_troubles).extend([trouble] * times)

    def lose_answers(self, times: int = 1) -> None:
        """Take the message, then close the connection."""

        async def trouble(request: web.Request) -> web.StreamResponse:
            await self._take(request)
            assert request.transport
            request.transport.close()
            return web.Response()

        self._send_troubles.extend([trouble] * times)

    def hang(self, seconds: float) -> None:
        """Take the message, and answer too late."""

        async def trouble(request: web.Request) -> web.StreamResponse:
            answer = await self._take(request)
            await asyncio.sleep(seconds)
            return answer

        self._send_troubles.append(trouble)

    async def post(self, body: Json) -> int:
        """Send a signed webhook; the status it was answered with."""
        raw = orjson.dumps(body)
        assert self.webhook_url
        async with self._client.post(
            self.webhook_url, data=raw, headers={"X-Hub-Signature-256": sign(raw), "Content-Type": "application/json"}
        ) as answer:
            return answer.status

    async def inbound(self, text: str, provider_id: str = "wamid.IN1", sender: str = "5511987654321") -> None:
        """Somebody writes to the number."""
        contacts = [{"profile": {"name": "Ana"}, "wa_id": sender}]
        await self.post(
            webhook_body({"contacts": contacts, "messages": [text_message(provider_id, text, sender=sender)]})
        )

    def hold(self, media_id: str, content: bytes, mime: str = "image/jpeg") -> Json:
        """A contact sent this file: the object that stands in the webhook."""
        self.files[media_id] = (mime, content)
        return {"id": media_id, "mime_type": mime, "sha256": hashlib.sha256(content).hexdigest()}

    def lose_files(self, code: int = 131052, http: int = 404, times: int = 1) -> None:
        """Refuse the next calls for files."""

        async def trouble(_: web.Request) -> web.StreamResponse:
            return web.json_response({"error": {"message": "no file", "code": code}}, status=http)

        self._media_troubles.extend([trouble] * times)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if self._media_troubles:
            return await self._media_troubles.popleft()(request)
        if refusal := self._refusal(request):
            return refusal
        form = await request.post()
        assert form["messaging_product"] == "whatsapp"
        file = form["file"]
        assert isinstance(file, web.FileField)
        assert form["type"] == file.content_type
        self.uploads += 1
        media_id = str(1000 + self.uploads)
        self.files[media_id] = (file.content_type, file.file.read())
        return web.json_response({"id": media_id})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        media_id = request.match_info["number"]
        if media_id not in self.files:
            return await self._probe(request)
        if self._media_troubles:
            return await self._media_troubles.popleft()(request)
        mime, content = self.files[media_id]
        url = f"{self.url}/attachments?mid={media_id}"
        return web.json_response({"url": url, "mime_type": mime, "file_size": len(content), "id": media_id})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        mime, content = self.files[request.query["mid"]]
        return web.Response(body=content, content_type=mime)

    async def _probe(self, request: web.Request) -> web.StreamResponse:
        if self._probe_troubles:
            return await self._probe_troubles.popleft()(request)
        return self._refusal(request) or web.json_response({"verified_name": "zapd", "id": NUMBER})

    async def _send(self, request: web.Request) -> web.StreamResponse:
        if self._send_troubles:
            return await self._send_troubles.popleft()(request)
        return self._refusal(request) or await self._take(request)

    @staticmethod
    def _refusal(request: web.Request) -> web.StreamResponse | None:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": {"message": "bad token", "code": 190}}, status=401)
        if request.match_info["number"] != NUMBER:
            return web.json_response({"error": {"message": "no such object", "code": 100}}, status=400)
        return None

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body.get("status") == "read":
            self.read.append(body)
            return web.json_response({"success": True})
        if missing := set(self._media_ids(body)) - set(self.files):
            return web.json_response({"error": {"message": f"no media {missing}", "code": 100}}, status=400)
        self.accepted.append(body)
        provider_id = f"wamid.{len(self.accepted)}"
        if self._receipts and self.webhook_url:
            task = asyncio.create_task(self._tell(provider_id, body), name=f"receipts:{provider_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        whom = str(body.get("to") or body["recipient"])
        contacts = [{"input": whom, "wa_id": whom.lstrip("+")}]
        return web.json_response(
            {"messaging_product": "whatsapp", "contacts": contacts, "messages": [{"id": provider_id}]}
        )

    def _media_ids(self, body: Json) -> list[str]:
        content = body[body["type"]]
        kinds = ("image", "video", "audio", "document", "sticker")
        return [content["id"]] if body["type"] in kinds else []

    async def _tell(self, provider_id: str, body: Json) -> None:
        echo = body.get("biz_opaque_callback_data")
        for kind in ("sent", "delivered", "read"):
            await self.post(webhook_body({"statuses": [status(provider_id, kind, echo=echo)]}))
