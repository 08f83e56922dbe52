"""What the web layer costs: POST …/send with a stand-in below it, beside a bare aiohttp handler, load from outside.

`python -m tests.bench.http`. Both servers run in this process, one after the other in each round, so that they see the
same machine; the load comes from `tests.bench.load` in another process.
"""

import asyncio
import json
import statistics
import sys
from typing import Any

import orjson
import uvloop
from aiohttp import web

from tests.support.stand_in import stand_in_site

ROUNDS = 3
SECONDS = 2.0
BODY = orjson.dumps({"to": "5511999998888", "type": "text", "payload": {"text": "Olá, tudo bem?"}}).decode()


async def bare(request: web.Request) -> web.Response:
    """The least that a JSON handler does."""
    orjson.loads(await request.read())
    return web.Response(body=orjson.dumps({"id": "x", "status": "queued"}), content_type="application/json")


async def measure(app: web.Application, path: str, *headers: str) -> dict[str, Any]:
    """Serve the application and put it under load."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    command = ["-m", "tests.bench.load", f"http://{host}:{port}{path}", "--body", BODY, "--seconds", str(SECONDS)]
    for header in headers:
        command += ["--header", header]
    load = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await load.communicate()
    await runner.cleanup()
    result: dict[str, Any] = json.loads(printed)
    return result


async def main() -> None:
    """Print both rates and their ratio."""
    rates: dict[str, list[float]] = {"bare": [], "send": []}
    for _ in range(ROUNDS):
        plain = web.Application()
        plain.router.add_post("/connections/{connection}/send", bare)
        rates["bare"].append((await measure(plain, "/connections/con_1/send"))["per_second"])
        app, token = await stand_in_site()
        result = await measure(app, "/connections/con_1/send", f"Authorization: Bearer {token}")
        assert set(result["statuses"]) == {"202"}, result
        rates["send"].append(result["per_second"])
    bare_rate, send_rate = (statistics.median(rates[name]) for name in ("bare", "send"))
    for name, values in rates.items():
        print(f"{name:5} {statistics.median(values):>9,.0f}/s  min {min(values):,.0f}  max {max(values):,.0f}")
    print(f"ratio {send_rate / bare_rate:.2f}, {1e6 / send_rate - 1e6 / bare_rate:.0f} µs more per request")


if __name__ == "__main__":
    uvloop.run(main())
