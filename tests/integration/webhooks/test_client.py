"""The client against receivers that behave, misbehave and attack."""

import asyncio
import gzip
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web

from tests.support import eventually
from tests.support.certificates import self_signed
from tests.support.receiver import Receiver, Reply
from zapd.model.webhook import Owner
from zapd.webhooks.client import CAPTURE, Answer, Client
from zapd.webhooks.connection import Idle, converse, reach
from zapd.webhooks.guard import Guard
from zapd.webhooks.resolver import Resolver

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def client_of(
    *,
    guard: Guard | None = None,
    names: Mapping[str, tuple[str, ...]] | None = None,
    timeout: float = 5.0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """A client whose names are resolved by `names`, without memory."""
    look_up = None if names is None else names.__getitem__
    resolver = Resolver(guard=guard or Guard(allow_loopback=True), look_up=look_up, remember=0)
    client = Client(resolver=resolver, timeout=timeout, tls=tls)
    yield client
    client.close()
    resolver.close()


@asynccontextmanager
async def raw_server(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that speaks whatever `serve` writes; gives its port."""

    served: list[asyncio.Task[None]] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.append(task)
        try:
            await serve(reader, writer)
            writer.close()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()

    server = await asyncio.start_server(once, "127.0.0.1", 0, ssl=tls)
    yield server.sockets[0].getsockname()[1]
    for task in served:
        task.cancel()
    await asyncio.gather(*served, return_exceptions=True)
    server.close()
    await server.wait_closed()


async def post(client: Client, url: str, body: bytes = b"{}") -> Answer:
    return await client.post(url, headers=[("webhook-id", "evt_1")], body=body)


def failed(answer: Answer) -> tuple[str, Owner]:
    assert answer.failure is not None
    return answer.failure.kind, answer.failure.owner


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """The head of the next request; its body is `{}`."""
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)
    return head


async def test_pain_5_the_receiver_gets_the_very_bytes_and_the_headers() -> None:
    async with Receiver() as receiver, client_of() as client:
        answer = await client.post(receiver.url + "?a=b", headers=[("X-One", "1")], body=b'{"\xc3\xa9": 1}')
        assert (answer.status, answer.failure) == (204, None)
    (received,) = receiver.received
    assert (received.path, received.body) == ("/hook?a=b", b'{"\xc3\xa9": 1}')
    assert received.headers["x-one"] == "1"
    assert received.headers["content-type"] == "application/json"


async def test_the_phases_of_a_first_attempt_are_measured() -> None:
    async with Receiver() as receiver, client_of() as client:
        answer = await post(client, receiver.url)
    assert list(answer.phases) == ["dns", "connect", "first_byte", "read"]
    assert all(0 <= ms < 5000 for ms in answer.phases.values())


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with Receiver() as receiver, client_of() as client:
        receiver.reply = Reply(302, headers={"Location": receiver.url + "/elsewhere"})
        assert failed(await post(client, receiver.url)) == ("redirect", Owner.THEIRS)
    assert [received.path for received in receiver.received] == ["/hook"]


@pytest.mark.parametrize(("status", "kind"), [(400, "client_error"), (410, "client_error"), (500, "server_error")])
async def test_an_error_keeps_its_status_its_body_and_its_hint(status: int, kind: str) -> None:
    async with Receiver() as receiver, client_of() as client:
        receiver.reply = Reply(status, b"no, thanks", {"Retry-After": "7"})
        answer = await post(client, receiver.url)
    assert (answer.status, answer.body, answer.retry_after) == (status, b"no, thanks", "7")
    assert failed(answer) == (kind, Owner.THEIRS)


async def test_a_body_that_never_ends_runs_into_the_deadline() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.1)  # all of it would take ten seconds

    async with raw_server(drip) as port, client_of(timeout=1.0) as client:
        answer = await post(client, f"http://127.0.0.1:{port}/")
    assert failed(answer) == ("timeout", Owner.THEIRS)
    assert answer.status == 200
    assert 950 <= answer.duration_ms < 5000


async def test_no_answer_at_all_runs_into_the_deadline() -> None:
    async with Receiver() as receiver, client_of(timeout=0.2) as client:
        receiver.open.clear()
        assert failed(await post(client, receiver.url)) == ("timeout", Owner.THEIRS)


async def test_pain_3_of_a_huge_answer_only_the_beginning_is_read() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 10_000)
            await writer.drain()
            sent += 10_000

    async with raw_server(flood) as port, client_of() as client:
        answer = await post(client, f"http://127.0.0.1:{port}/")
        assert (answer.failure, answer.body) == (None, b"x" * CAPTURE)
    assert sent < 10_000_000


async def test_a_gzip_bomb_is_kept_as_it_is() -> None:
    bomb = gzip.compress(bytes(5_000_000))
    async with Receiver() as receiver, client_of() as client:
        receiver.reply = Reply(200, bomb, {"Content-Encoding": "gzip"})
        answer = await post(client, receiver.url)
    assert answer.body == bomb[:CAPTURE]
    assert receiver.received[0].headers["accept-encoding"] == "identity"


async def test_a_refused_connection() -> None:
    async with Receiver() as receiver:
        url = receiver.url
    async with client_of() as client:
        assert failed(await post(client, url)) == ("connect", Owner.THEIRS)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(b"", "connect"), (b"HTTP/1.1 200 OK\r\nContent-Le", "connect"), (b"220 smtp ready\r\n\r\n", "server_error")],
)
async def test_a_server_that_hangs_up_or_speaks_something_else(answer: bytes, kind: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(answer)

    async with raw_server(serve) as port, client_of() as client:
        assert failed(await post(client, f"http://127.0.0.1:{port}/")) == (kind, Owner.THEIRS)


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\ntaken")

    async with raw_server(serve) as port, client_of() as client:
        answer = await post(client, f"http://127.0.0.1:{port}/")
    assert (answer.failure, answer.body) == (None, b"taken")


# --- addresses ---


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "0x7f.1"])
async def test_a_private_address_is_refused_before_anything_is_sent(host: str) -> None:
    async with client_of() as client:
        answer = await post(client, f"http://{host}/")
    assert failed(answer) == ("blocked", Owner.OURS)
    assert "connect" not in answer.phases


async def test_loopback_is_refused_unless_allowed() -> None:
    async with Receiver() as receiver, client_of(guard=Guard()) as client:
        assert failed(await post(client, receiver.url)) == ("blocked", Owner.OURS)
        assert receiver.received == []


async def test_one_private_address_among_a_names_answers_refuses_it() -> None:
    names = {"hooks.test": ("127.0.0.1", "10.0.0.1")}
    async with Receiver() as receiver, client_of(names=names) as client:
        answer = await post(client, receiver.url.replace("127.0.0.1", "hooks.test"))
        assert failed(answer) == ("blocked", Owner.OURS)
        assert receiver.received == []


async def test_the_connection_goes_to_the_vetted_address_and_names_the_host() -> None:
    async with Receiver() as receiver, client_of(names={"hooks.test": ("127.0.0.1",)}) as client:
        url = receiver.url.replace("127.0.0.1", "hooks.test")
        assert (await post(client, url)).failure is None
    assert receiver.received[0].headers["host"].startswith("hooks.test:")


async def test_pain_21_a_name_that_moves_to_a_private_address_is_judged_again_at_the_next_attempt() -> None:
    names = {"hooks.test": ("127.0.0.1",)}
    async with Receiver() as receiver, client_of(names=names) as client:
        receiver.reply = Reply(200, headers={"Connection": "close"})
        url = receiver.url.replace("127.0.0.1", "hooks.test")
        assert (await post(client, url)).failure is None
        names["hooks.test"] = ("192.168.0.1",)
        assert failed(await post(client, url)) == ("blocked", Owner.OURS)


async def test_an_allowed_network_is_open() -> None:
    guard = Guard(allow_networks=[ip_network("127.0.0.0/8")])
    async with Receiver() as receiver, client_of(guard=guard) as client:
        assert (await post(client, receiver.url)).failure is None


async def test_a_name_without_an_address() -> None:
    async with client_of() as client:
        answer = await post(client, "http://no-such-host.invalid/")
    assert failed(answer)[0] == "dns"


async def test_the_second_address_is_tried_when_the_first_does_not_answer() -> None:
    names = {"hooks.test": ("127.0.0.2", "127.0.0.1")}  # nobody listens on .2
    async with Receiver() as receiver, client_of(names=names) as client:
        assert (await post(client, receiver.url.replace("127.0.0.1", "hooks.test"))).failure is None


async def test_a_slow_name_server_holds_up_only_its_own_names() -> None:
    answers = threading.Event()

    def look_up(host: str) -> tuple[str, ...]:
        if host == "slow.test":
            answers.wait(10)
        return ("127.0.0.1",)

    resolver = Resolver(guard=Guard(allow_loopback=True), look_up=look_up)
    slow = asyncio.create_task(resolver.addresses("slow.test"), name="slow")
    assert await asyncio.wait_for(resolver.addresses("quick.test"), 2) == ("127.0.0.1",)
    assert not slow.done()
    answers.set()
    await slow
    resolver.close()


# --- TLS ---


async def test_a_certificate_is_checked_against_the_name(tmp_path: Path) -> None:
    server, trusting = self_signed(tmp_path, "hooks.test")
    names = {"hooks.test": ("127.0.0.1",), "other.test": ("127.0.0.1",)}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK)

    async with raw_server(serve, tls=server) as port, client_of(names=names, tls=trusting) as client:
        assert (await post(client, f"https://hooks.test:{port}/")).failure is None
        wrong_name = await post(client, f"https://other.test:{port}/")
    async with raw_server(serve, tls=server) as port, client_of(names=names) as client:
        unknown_authority = await post(client, f"https://hooks.test:{port}/")
    assert failed(wrong_name) == failed(unknown_authority) == ("tls", Owner.THEIRS)


async def test_a_server_that_does_not_speak_tls() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(serve) as port, client_of() as client:
        assert failed(await post(client, f"https://127.0.0.1:{port}/")) == ("tls", Owner.THEIRS)


# --- connections ---


async def test_pain_25_a_connection_carries_many_attempts() -> None:
    peers = set()

    async def respond(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="ok")

    async with Receiver() as receiver, client_of() as client:
        receiver.respond = respond
        for _ in range(5):
            assert (await post(client, receiver.url)).failure is None
    assert len(peers) == 1


async def test_an_idle_connection_that_the_receiver_closed_costs_no_attempt() -> None:
    connections = 0

    async def one_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request_of(reader)
        writer.write(OK)
        await writer.drain()
        await reader.read(1)  # the next request is what it hangs up on

    async with raw_server(one_each) as port, client_of() as client:
        url = f"http://127.0.0.1:{port}/"
        assert (await post(client, url)).failure is None
        assert (await post(client, url)).failure is None
    assert connections == 2


async def test_bytes_that_nobody_asked_for_are_never_taken_for_the_next_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK + b"HTTP/1.1 500 Forged\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with raw_server(serve) as port, client_of() as client:
        for _ in range(2):
            assert (await post(client, f"http://127.0.0.1:{port}/")).failure is None


async def test_a_cancelled_attempt_closes_its_connection() -> None:
    reached, closed = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        reached.set()
        try:
            await reader.read()
        finally:
            closed.set()

    async with raw_server(serve) as port, client_of() as client:
        attempt = asyncio.create_task(post(client, f"http://127.0.0.1:{port}/"), name="attempt")
        await reached.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await asyncio.wait_for(closed.wait(), 10)


async def test_idle_connections_are_closed_after_a_while() -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            closed.set()

    async with raw_server(serve) as port:
        idle = Idle(keep=0.05)
        connection = await converse(await reach(("127.0.0.1",), port), tls=None, name="x")
        idle.put(("", False, "x", port), connection)
        await asyncio.wait_for(closed.wait(), 10)
        assert idle.take(("", False, "x", port)) is None
        await eventually(lambda: not connection.usable)
        idle.close()


async def test_a_header_with_a_line_break_is_refused() -> None:
    async with client_of() as client:
        with pytest.raises(ValueError, match="line break"):
            await client.post("http://127.0.0.1:1/", headers=[("X-Session", "a\r\nX-Evil: 1")], body=b"{}")


async def test_pain_21_a_connection_into_one_tenants_network_is_nobody_elses(receiver: Receiver) -> None:
    """It stays open after the first POST; another tenant must neither use it nor connect itself."""
    resolver = Resolver(guard=Guard(tenant_networks={"acme": [ip_network("127.0.0.0/8")]}))
    client = Client(resolver=resolver)
    ours = await client.post(receiver.url, headers=(), body=b"{}", tenant="acme")
    theirs = await client.post(receiver.url, headers=(), body=b"{}", tenant="globex")
    client.close()
    resolver.close()
    assert ours.failure is None
    assert theirs.failure is not None
    assert theirs.failure.kind == "blocked"
    assert len(receiver.received) == 1
