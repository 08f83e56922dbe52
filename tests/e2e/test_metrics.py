"""/metrics of the real daemon: what is there before anything happened, and what traffic makes of it."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver, Reply

FAST = '[sandbox]\npair_after = "0.1s"\nlatency = "50ms"\n[limits]\nsession_per_minute = 60000\nsession_burst = 1000\n'
#: A budget: rendering a thousand series takes about 20 ms of a thread that the event loop shares Python's lock with.
MOST_SERIES = 1_300

Series = tuple[str, frozenset[tuple[str, str]]]


async def scrape(daemon: Daemon) -> dict[Series, float]:
    status, body = await daemon.call("GET", "/metrics", raw=True)
    assert status == 200
    families = text_string_to_metric_families(body.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(scraped: Mapping[Series, float], name: str, **labels: str) -> float:
    return scraped[name, frozenset(labels.items())]


def of_sandbox(name: str, **labels: str) -> Series:
    return f"zapd_{name}", frozenset({"transport": "sandbox", **labels}.items())


#: What the traffic below leaves, when all of it is over.
WANTED: dict[Series, float] = {
    of_sandbox("messages_submitted_total", type="text"): 2,
    **{
        of_sandbox("message_transitions_total", state=state): count
        for state, count in {"queued": 2, "sending": 2, "sent": 1, "read": 1, "dlq": 1, "received": 1}.items()
    },
    of_sandbox("messages_received_total", type="text"): 1,
    of_sandbox("message_send_seconds_count"): 1,
    of_sandbox("transport_call_duration_seconds_count"): 2,
    of_sandbox("transport_errors_total", **{"class": "permanent"}): 1,
    of_sandbox("session_transitions_total", state="connected"): 1,
    ("zapd_outbox_oldest_timestamp_seconds", frozenset()): 0,
}


async def becomes(daemon: Daemon, message: str, status: str) -> None:
    async def is_so() -> bool:
        return await daemon.status_of(message) == status

    await eventually(is_so, within=20)


async def test_traffic_makes_no_series_but_those_of_its_routes(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", FAST) as daemon, Receiver() as receiver:
        before = await scrape(daemon)
        connection = await daemon.connect(webhook_url=receiver.url)
        receiver.script.extend([Reply(status=500), Reply(status=404)])
        sent = await daemon.send(connection["id"], "Olá")
        await becomes(daemon, sent["id"], "read")
        await daemon.call("POST", f"/sandbox/{connection['id']}/faults", {"faults": [{"kind": "permanent"}]})
        failing = await daemon.send(connection["id"], "refused")
        await daemon.call("GET", f"/messages/{failing['id']}/timeline")
        await daemon.call("GET", "/messages/msg_none")
        await daemon.call("POST", f"/connections/{connection['id']}/send", {"to": "x"})
        await becomes(daemon, failing["id"], "dlq")

        async def told() -> Mapping[Series, float]:  # a rendering is given out again for a second
            scraped = await scrape(daemon)
            return scraped if WANTED.items() <= scraped.items() else {}

        with suppress(AssertionError):  # what is missing is shown below
            await eventually(told, within=20)
        after = await scrape(daemon)

    new = {name for name, _ in after.keys() - before.keys()}
    http = "zapd_http_requests_total", "zapd_http_request_duration_seconds"
    assert {name for name in new if not name.startswith(http)} == set()
    assert len(after) < MOST_SERIES

    assert {series: after.get(series) for series in WANTED} == WANTED
    assert value(after, "zapd_redis_memory_bytes") > 0
    assert abs(value(after, "zapd_redis_clock_skew_seconds")) < 1
    assert value(after, "zapd_disk_size_bytes") >= value(after, "zapd_disk_free_bytes") > 0
    assert value(after, "zapd_sql_size_bytes") > 0
    assert value(after, "zapd_cron_next_timestamp_seconds") > 0
    assert value(after, "zapd_log_messages_total", level="info") > 0
