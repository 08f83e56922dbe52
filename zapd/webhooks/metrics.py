"""The numbers about webhooks."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from zapd.model.webhook import DeliveryState
from zapd.telemetry.numbers import Histogram, counter, one_histogram, zeros

RESULTS = ("ok", "client_error", "server_error", "redirect", "timeout", "connect", "tls", "dns", "blocked", "transform")
_HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Of the delivered ones there may be millions; `zapd_delivery_attempts_total{result="ok"}` counts them.
_COUNTED = [state for state in DeliveryState if state is not DeliveryState.DELIVERED]
_LAG_SECONDS = (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)


class WebhookMetrics(Collector):
    """Every result is there from the start: a rate must not miss the first."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.deliveries = Gauge(
            "zapd_deliveries", "Deliveries by state, without those that were delivered.", ["state"], registry=registry
        )
        self._results = zeros((result,) for result in RESULTS)
        self._duration = Histogram(_HTTP_SECONDS)
        self._lag = Histogram(_LAG_SECONDS)
        self.endpoints = Gauge(
            "zapd_endpoints",
            "Endpoints by state; failing: enabled, and the last attempt failed; held: spared by this daemon.",
            ["state"],
            registry=registry,
        )
        for state in _COUNTED:
            self.deliveries.labels(state.value)
        for name in ("enabled", "failing", "held", "disabled"):
            self.endpoints.labels(name)
        registry.register(self)

    def attempted(self, result: str, seconds: float) -> None:
        """A POST ended, answer included."""
        self._results[result,] += 1
        self._duration.observe(seconds)

    def took(self, seconds: float) -> None:
        """A receiver took an event, so long after it happened."""
        self._lag.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        yield counter("zapd_delivery_attempts", "POSTs by result.", ("result",), self._results)
        name = "zapd_delivery_attempt_duration_seconds"
        yield one_histogram(name, "Time of one POST, answer included.", self._duration)
        name = "zapd_delivery_lag_seconds"
        yield one_histogram(name, "Time from the event to the answer that took it.", self._lag)

    def sampled(self, *, deliveries: Mapping[DeliveryState, int], disabled_endpoints: int) -> None:
        """Show what was counted in SQL; too dear to count at every change."""
        for state in _COUNTED:
            self.deliveries.labels(state.value).set(deliveries.get(state, 0))
        self.endpoints.labels("disabled").set(disabled_endpoints)
