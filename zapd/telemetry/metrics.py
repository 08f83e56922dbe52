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
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from zapd.telemetry import numbers

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


class HttpMetrics(Collector):
    """The HTTP server. `observe` runs for each request, so it counts in plain numbers."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.in_flight = 0
        in_flight = Gauge("zapd_http_requests_in_flight", "Requests being answered.", registry=registry)
        in_flight.set_function(lambda: self.in_flight)
        self.limited = Counter("zapd_http_rate_limited", "Answers with 429.", ["scope"], registry=registry)
        self.accepted = {kind: numbers.Histogram(_ACCEPT_SECONDS) for kind in ACCEPT_KINDS}
        viewers = Gauge("zapd_stream_viewers", "Open event streams.", ["stream"], registry=registry)
        self.viewers, self.page_viewers = viewers.labels("api"), viewers.labels("dashboard")
        for scope in LIMIT_SCOPES:
            self.limited.labels(scope)
        self._requests: dict[numbers.Labels, int] = {}
        self._durations: dict[str, numbers.Histogram] = {}
        registry.register(self)

    def observe(self, route: str, method: str, status: int, seconds: float, /) -> None:
        """One answered request. `route` is the template, so that the number of series stays bounded."""
        key = (route, method, str(status))
        self._requests[key] = self._requests.get(key, 0) + 1
        duration = self._durations.get(route)
        if duration is None:
            duration = self._durations[route] = numbers.Histogram(_HTTP_SECONDS)
        duration.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        labels = ("route", "method", "code")
        yield numbers.counter("zapd_http_requests", "Requests answered.", labels, self._requests)
        yield numbers.histogram(
            "zapd_http_request_duration_seconds", "Time to the end of the answer.", "route", self._durations
        )
        yield numbers.histogram(
            "zapd_accept_duration_seconds",
            "Time from the request to the SQL commit that keeps it.",
            "kind",
            self.accepted,
        )


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
