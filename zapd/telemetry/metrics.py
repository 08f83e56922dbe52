"""The metrics of the process itself, and how all metrics are rendered. Each part brings its own collectors.

Rules: `zapd_` prefix, base units, timestamps instead of ages, no ids in labels, every label set from a closed list
exists from the start (a counter that appears at 1 never shows an increase). The one exception is the HTTP route, method
and code, which appear with the first request.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_HTTP_SECONDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
_ACCEPT_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1)

ACCEPT_KINDS = ("send", "event", "hook", "job")
LIMIT_SCOPES = ("key", "ip")

#: `Supervisor.status`: per service whether it is up, how often it was restarted, and why it failed.
ServiceStatus = Callable[[], Mapping[str, Mapping[str, object]]]


def new_registry(*, version: str) -> CollectorRegistry:
    """A registry with the process's own numbers (`process_*`, `python_*`, `zapd_build_info`)."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped in prometheus_client; halves the series
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = Gauge("zapd_build_info", "Always 1; the labels say what runs.", ["version", "python"], registry=registry)
    build.labels(version, platform.python_version()).set(1)
    return registry


class DaemonMetrics:
    """The daemon as a whole."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.ready = Gauge("zapd_ready", "1 while /ready answers 200.", registry=registry)
        self.draining = Gauge("zapd_draining", "1 from SIGTERM on.", registry=registry)
        self.reload_ok = Gauge(
            "zapd_config_last_reload_successful", "1 when the last reload was taken.", registry=registry
        )
        self.reload_at = Gauge(
            "zapd_config_last_reload_timestamp_seconds", "When the configuration was last taken.", registry=registry
        )


class HttpMetrics:
    """The HTTP server. `observe` runs for each request, so the label lookups are kept."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "zapd_http_requests", "Requests answered.", ["route", "method", "code"], registry=registry
        )
        self.duration = Histogram(
            "zapd_http_request_duration_seconds",
            "Time to the end of the answer.",
            ["route"],
            buckets=_HTTP_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("zapd_http_requests_in_flight", "Requests being answered.", registry=registry)
        self.limited = Counter("zapd_http_rate_limited", "Answers with 429.", ["scope"], registry=registry)
        self.accepted = Histogram(
            "zapd_accept_duration_seconds",
            "Time from the request to the SQL commit that keeps it.",
            ["kind"],
            buckets=_ACCEPT_SECONDS,
            registry=registry,
        )
        viewers = Gauge("zapd_stream_viewers", "Open event streams.", ["stream"], registry=registry)
        self.viewers, self.page_viewers = viewers.labels("api"), viewers.labels("dashboard")
        for scope in LIMIT_SCOPES:
            self.limited.labels(scope)
        for kind in ACCEPT_KINDS:
            self.accepted.labels(kind)
        self._requests: dict[tuple[str, str, int], Counter] = {}
        self._durations: dict[str, Histogram] = {}

    def observe(self, route: str, method: str, status: int, seconds: float, /) -> None:
        """One answered request. `route` is the template, so that the number of series stays bounded."""
        key = (route, method, status)
        if key not in self._requests:
            self._requests[key] = self.requests.labels(route, method, str(status))
            self._durations.setdefault(route, self.duration.labels(route))
        self._requests[key].inc()
        self._durations[route].observe(seconds)


class LogCounts(Protocol):
    """What `telemetry.logs.Logs` counts."""

    @property
    def written(self) -> Mapping[str, int]: ...

    @property
    def dropped(self) -> int: ...


class LogCollector(Collector):
    """`zapd_log_messages_total`, `zapd_logs_dropped_total`."""

    def __init__(self, *, logs: LogCounts) -> None:
        self._logs = logs

    def collect(self) -> Iterator[Metric]:
        written = CounterMetricFamily("zapd_log_messages", "Log lines by level.", labels=["level"])
        for level, count in dict(self._logs.written).items():
            written.add_metric([level], count)
        yield written
        yield CounterMetricFamily("zapd_logs_dropped", "Log lines nobody took away.", value=self._logs.dropped)


class ServiceCollector(Collector):
    """`zapd_service_up`, `zapd_service_restarts_total`: what the supervisor knows, read at each scrape."""

    def __init__(self, *, status: ServiceStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("zapd_service_up", "1 while the part runs.", labels=["service"])
        restarts = CounterMetricFamily("zapd_service_restarts", "Restarts after a crash.", labels=["service"])
        for name, state in self._status().items():
            up.add_metric([name], 1 if state["up"] else 0)
            restarts.add_metric([name], int(str(state["restarts"])))
        yield up
        yield restarts
