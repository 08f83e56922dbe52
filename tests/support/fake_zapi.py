"""Z-API for tests, over real HTTP: one instance that takes messages, makes trouble and calls back (wire facts §2)."""

import asyncio
import base64
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Self

import aiohttp
import orjson
from aiohttp import web

Json = dict[str, Any]
Trouble = Callable[[web.Request], Awaitable[web.StreamResponse]]

INSTANCE, TOKEN, CLIENT_TOKEN, SECRET = "3C01INSTANCE", "F00TOKEN", "Fclient-token", "a-path-secret-of-24-chars"
CONFIG: dict[str, object] = {
    "instance_id": INSTANCE,
    "instance_token": TOKEN,
    "client_token": CLIENT_TOKEN,
    "webhook_secret": SECRET,
}
AT = 1_750_000_000_000


def delivery(message_id: str, *, error: str | None = None, **fields: object) -> Json:
    """A DeliveryCallback."""
    said = {"error": error} if error else {}
    return {"type": "DeliveryCallback", "zaapId": message_id, "messageId": message_id, **said, **fields}


def status(message_id: str, kind: str, **fields: object) -> Json:
    """A MessageStatusCallback."""
    return {"type": "MessageStatusCallback", "status": kind, "ids": [message_id], "phone": "55", **fields}


def received(message_id: str = "A20DIN", *, phone: str = "5511987654321", **content: object) -> Json:
    """A ReceivedCallback; a text unless `content` says otherwise."""
    head = {"type": "ReceivedCallback", "messageId": message_id, "phone": phone, "fromMe": False, "senderName": "Ana"}
    return {**head, "chatLid": "8189@lid", "isGroup": False, **(content or {"text": {"message": "oi"}})}


class FakeZapi:
    """Troubles that are queued are met by the next sends; `sent` has operation and body of what was taken."""

    def __init__(self, *, receipts: bool = False, connected: bool = True) -> None:
        self.url = ""
        self.connected = connected
        self.sent: list[tuple[str, Json]] = []
        self.calls: list[tuple[str, str]] = []  #: method and operation of everything that was asked
        self.settings: Json = {}
        self.numbers: dict[str, str] = {}  #: asked for → as WhatsApp spells it; others are not on WhatsApp
        self.lookup_answer: Json | None = None  #: instead of what `numbers` says
        self.hook_url: str | None = None
        self._receipts = receipts
        self._troubles: deque[Trouble] = deque()
        self._status_troubles: deque[Trouble] = deque()
        self._ids = count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", f"/instances/{INSTANCE}/token/{TOKEN}/{{operation:.+}}", self._dispatch)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._client = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
        await self._runner.cleanup()

    # --- what a test makes it do ---

    def answer(
        self, body: Json | bytes, http: int = 200, *, times: int = 1, probe: bool = False, retry_after: str = ""
    ) -> None:
        """Meet the next sends, or status calls, with this answer."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Retry-After": retry_after} if retry_after else {}

        async def trouble(_: web.Request) -> web.StreamResponse:
            return web.Response(status=http, body=raw, headers=headers)

        (self._status_troubles if probe else self._troubles).extend([trouble] * times)

    def refuse(self, error: str, http: int = 400, **more: Any) -> None:
        """Meet the next send with this error."""
        self.answer({"error": error}, http, **more)

    def lose_answers(self, times: int = 1) -> None:
        """Take the message, then close the connection."""

        async def trouble(request: web.Request) -> web.StreamResponse:
            await self._take(request)
            assert request.transport
            request.transport.close()
            return web.Response()

        self._troubles.extend([trouble] * times)

    async def call_back(self, body: Json, *, instance: str = INSTANCE) -> int:
        """POST a webhook; its answer's status."""
        assert self.hook_url
        async with self._client.post(self.hook_url, json={"instanceId": instance, "momment": AT, **body}) as answer:
            return answer.status

    # --- the API ---

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        operation = request.match_info["operation"]
        self.calls.append((request.method, operation))
        if request.headers.get("Client-Token") != CLIENT_TOKEN:
            return web.json_response({"error": "null not allowed"}, status=403)
        if request.method in ("POST", "PUT") and request.content_type != "application/json":
            return web.json_response({"error": "Unsupported Media Type"}, status=415)
        special: Trouble | None = getattr(
            self, f"_{request.method.lower()}_{operation.partition('/')[0].replace('-', '_')}", None
        )
        if special is not None:
            return await special(request)
        if request.method != "POST" or not operation.startswith(("send-", "forward-")):
            return web.json_response({"error": "Method Not Allowed"}, status=405)
        return await self._send(request)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        if self._troubles:
            return await self._troubles.popleft()(request)
        if not self.connected:
            return web.json_response({"error": "You are not connected."}, status=400)
        return web.json_response(await self._take(request))

    async def _take(self, request: web.Request) -> Json:
        operation, body = request.match_info["operation"], await request.json()
        self.sent.append((operation, body))
        message_id = f"3EB0{next(self._ids):018X}"
        if self._receipts and self.hook_url:
            self._later(message_id)
        ids = {"zaapId": message_id, "messageId": message_id, "id": message_id}
        return {"zaapId": message_id} if operation == "forward-message" else ids

    def _later(self, message_id: str) -> None:
        async def tell() -> None:
            await self.call_back(delivery(message_id))
            for kind in ("SENT", "RECEIVED", "READ", "READ_BY_ME"):
                await self.call_back(status(message_id, kind))

        task = asyncio.create_task(tell(), name="fake-zapi")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _get_status(self, request: web.Request) -> web.StreamResponse:
        if self._status_troubles:
            return await self._status_troubles.popleft()(request)
        said = "You are already connected." if self.connected else "You are not connected."
        return web.json_response({"connected": self.connected, "error": said, "smartphoneConnected": self.connected})

    async def _get_qr_code(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"value": f"2@{next(self._ids)},abc"})

    async def _get_phone_code(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"value": "ABCD-1234"})

    async def _get_disconnect(self, _: web.Request) -> web.StreamResponse:
        self.connected = False
        return web.json_response({"value": True})

    async def _put_update_queue_settings(self, request: web.Request) -> web.StreamResponse:
        self.settings |= await request.json()
        return web.json_response({"value": True})

    async def _put_update_every_webhooks(self, request: web.Request) -> web.StreamResponse:
        self.hook_url = (await request.json())["value"]
        return web.json_response({"value": True})

    async def _post_phone_exists_batch(self, request: web.Request) -> web.StreamResponse:
        if self.lookup_answer is not None:
            return web.json_response(self.lookup_answer)
        found = []
        for phone in (await request.json())["phones"]:
            number = self.numbers.get(phone)
            found.append({"exists": number is not None, "inputPhone": phone, "outputPhone": number, "lid": None})
        return web.json_response(found)

    async def _post_read_message(self, _: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def _delete_messages(self, request: web.Request) -> web.StreamResponse:
        self.sent.append(("messages", dict(request.query)))
        return web.Response(status=204)


def content_of(data_uri: str) -> tuple[str, bytes]:
    """MIME and bytes of a data URI."""
    head, _, body = data_uri.partition(",")
    return head.removeprefix("data:").removesuffix(";base64"), base64.b64decode(body)
