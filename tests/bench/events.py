"""Events accepted per second, on the real daemon: own ones, and inbound ones with signature, dedup and persistence."""

import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from itertools import count

from tests.bench import load
from tests.bench.main_job import CONNECTIONS, SECONDS, bare, daemon
from tests.bench.rows import Row, row
from tests.support.daemon import Daemon

RUNS = int(os.environ.get("RUNS", "3"))
SECRET = b"bench-secret"
DATA = {"id": 7, "name": "Ana Maria", "phone": "5511999998888", "items": [{"sku": "A1", "price": 10.5}] * 5}
TOML = """
[sources."shop"]
verify = "github"
secret = "bench-secret"
type = "order.{body.kind}"
rate = ""
ip_rate = ""
[queues."event:process"]
concurrency = 50
max_concurrency = 100
"""


def own(running: Daemon) -> Iterator[bytes]:
    body = json.dumps({"type": "order.paid", "data": DATA}).encode()
    request = load.request("POST", f"{running.url}/events", body, [("Authorization", f"Bearer {running.key}")])
    while True:
        yield request


def inbound(running: Daemon) -> Iterator[bytes]:
    """Each signed, and with an id of its own."""
    body = json.dumps({"kind": "paid", **DATA}).encode()
    signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    for number in count():
        headers = [("X-Hub-Signature-256", signature), ("X-GitHub-Delivery", f"d{number}")]
        yield load.request("POST", f"{running.url}/hooks/shop", body, headers)


async def accepted() -> list[Row]:
    """Both kinds beside a handler that does nothing, in the same run."""
    rates: dict[str, list[float]] = {"own": [], "inbound": [], "bare": []}
    lags: list[float] = []
    for _ in range(RUNS):
        rates["bare"].append((await bare()).per_second)
        for name, made in (("own", own), ("inbound", inbound)):
            async with daemon(TOML) as running:
                url = f"{running.url}/events"
                result = await load.run(url=url, requests=made(running), connections=CONNECTIONS, seconds=SECONDS)
                assert set(result.statuses) == {202}, result.statuses
                rates[name].append(result.per_second)
                if name == "inbound":
                    lags.append(result.p99)
    base = sorted(rates["bare"])[len(rates["bare"]) // 2]
    versus = "a handler that does nothing"
    return [
        row("events accepted, own", rates["own"], "1/s", versus=versus, base=base),
        row(
            "events accepted, inbound: verified, deduplicated, kept", rates["inbound"], "1/s", versus=versus, base=base
        ),
        row("events accepted, inbound: p99", lags, "ms"),
    ]
