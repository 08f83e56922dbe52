"""How many POSTs per second the webhook client makes, and what one costs, beside aiohttp's client in the same run.

`python -m tests.bench.client`. The receiver is an aiohttp server in another process; 64 POSTs are under way at once.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import uvloop
from aiohttp import web

from zapd.webhooks.client import Client
from zapd.webhooks.guard import Guard
from zapd.webhooks.resolver import Resolver

ROUNDS = 5
POSTS = 10_000
CONCURRENCY = 64
BODY = b'{"id":"evt_01J9Z3K5T8000000000000000","type":"message.sent","data":{"text":"' + b"x" * 300 + b'"}}'
HEADERS = [
    ("webhook-id", "evt_01J9Z3K5T8000000000000000"),
    ("webhook-timestamp", "1614265330"),
    ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ("X-ZapHub-Event", "message.sent"),
    ("X-ZapHub-Session", "con_01J9Z3K5T8000000000000000"),
]

Post = Callable[[], Awaitable[None]]


async def measure(post: Post) -> tuple[float, float]:
    """POSTs per second, and microseconds of this process's processor time for one."""
    left = iter(range(POSTS))

    async def worker() -> None:
        for _ in left:
            await post()

    started, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*[worker() for _ in range(CONCURRENCY)])
    return POSTS / (time.perf_counter() - started), (time.process_time() - used) / POSTS * 1e6


async def main() -> None:
    receiver = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.client", "receive", stdout=asyncio.subprocess.PIPE
    )
    assert receiver.stdout is not None
    url = (await receiver.stdout.readline()).decode().strip()
    resolver = Resolver(guard=Guard(allow_loopback=True))
    client = Client(resolver=resolver)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())

    async def ours() -> None:
        answer = await client.post(url, headers=HEADERS, body=BODY)
        assert answer.failure is None

    async def theirs() -> None:
        async with session.post(url, data=BODY, headers=HEADERS, allow_redirects=False) as answer:
            await answer.content.read(16_384)

    rounds = [(await measure(ours), await measure(theirs)) for _ in range(ROUNDS)]
    for index, name in enumerate(("zapd", "aiohttp")):
        rates, costs = zip(*[results[index] for results in rounds], strict=True)
        print(
            f"{name:<8} {statistics.median(rates):>8,.0f} POSTs/s (min {min(rates):,.0f}, max {max(rates):,.0f}),"
            f" {statistics.median(costs):.1f} us of processor time each"
        )
    client.close()
    resolver.close()
    await session.close()
    receiver.terminate()
    await receiver.wait()


async def receive() -> None:
    """Take everything, and print where."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/hook", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(receive() if sys.argv[1:] == ["receive"] else main())
