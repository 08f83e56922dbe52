"""Metrics: closed label sets exist from the start, and rendering does not disturb the loop."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from tests.support import FakeClock, eventually
from zapd.telemetry.exposition import MAX_PAGES, Exposition
from zapd.telemetry.loop_lag import LoopLag
from zapd.telemetry.metrics import DaemonMetrics, HttpMetrics, LogCollector, ServiceCollector, new_registry


class Slow(Collector):
    """Counts its scrapes and where they ran."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def collect(self) -> Iterator[Metric]:
        self.threads.append(threading.get_ident())
        yield Metric("zapd_slow", "", "gauge")


class Written:
    written = Counter({"info": 3, "error": 0})
    dropped = 2


async def test_every_closed_label_set_is_there_before_anything_happened() -> None:
    registry = new_registry(version="1.2.3")
    HttpMetrics(registry=registry)
    DaemonMetrics(registry=registry)
    registry.register(LogCollector(logs=Written()))
    registry.register(ServiceCollector(status=lambda: {"web": {"up": True, "restarts": 4, "failed": None}}))
    body, _ = await Exposition(registry=registry).render()
    text = body.decode()
    assert 'zapd_build_info{python="' in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text
    for line in (
        "zapd_draining 0.0",
        'zapd_log_messages_total{level="error"} 0.0',
        "zapd_logs_dropped_total 2.0",
        'zapd_service_up{service="web"} 1.0',
        'zapd_service_restarts_total{service="web"} 4.0',
        'zapd_http_rate_limited_total{scope="ip"} 0.0',
        'zapd_accept_duration_seconds_count{kind="send"} 0.0',
    ):
        assert line in text.splitlines(), line


def test_a_request_counts_under_its_template() -> None:
    registry = CollectorRegistry()
    http = HttpMetrics(registry=registry)
    for _ in range(2):
        http.observe("/connections/{id}/send", "POST", 202, 0.004)
    labels = {"route": "/connections/{id}/send"}
    assert registry.get_sample_value("zapd_http_requests_total", labels | {"method": "POST", "code": "202"}) == 2
    assert registry.get_sample_value("zapd_http_request_duration_seconds_bucket", labels | {"le": "0.005"}) == 2


async def test_scrapes_at_once_share_one_rendering_in_a_thread() -> None:
    registry, slow, clock = CollectorRegistry(), Slow(), FakeClock(0)
    registry.register(slow)
    exposition = Exposition(registry=registry, clock=lambda: clock.value / 1000)
    slow.threads.clear()  # registering asks for the names
    pages = await asyncio.gather(*(exposition.render() for _ in range(10)))
    assert len(set(pages)) == 1
    assert len(slow.threads) == 1
    assert slow.threads[0] != threading.get_ident()
    clock.advance(1.0)
    await exposition.render()
    assert len(slow.threads) == 2


async def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    exposition = Exposition(registry=CollectorRegistry())
    body, content_type = await exposition.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_strange_versions_do_not_pile_up() -> None:
    exposition = Exposition(registry=CollectorRegistry())
    for n in range(3 * MAX_PAGES):
        await exposition.render(f"application/openmetrics-text; version=1.0.{n}")
    assert len(exposition._pages) <= MAX_PAGES


async def test_loop_lag_is_sampled_until_stopped() -> None:
    registry = CollectorRegistry()
    lag = LoopLag(registry=registry, every=0.001)
    task = asyncio.create_task(lag.run(), name="loop_lag")
    await eventually(lambda: (registry.get_sample_value("zapd_loop_lag_seconds_count") or 0) >= 3)
    assert registry.get_sample_value("zapd_tasks") == len(asyncio.all_tasks())
    await lag.stop()
    await asyncio.wait_for(task, 1)
    assert lag.last >= 0


async def test_loop_lag_stops_twice_and_before_it_starts() -> None:
    lag = LoopLag(registry=CollectorRegistry())
    await lag.stop()
    await lag.stop()
    await asyncio.wait_for(lag.run(), 1)
