"""The numbers about webhooks."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from zapd.model.webhook import DeliveryState

RESULTS = ("ok", "client_error", "server_error", "redirect", "timeout", "connect", "tls", "dns", "blocked", "transform")
_HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: Of the delivered ones there may be millions; `zapd_delivery_attempts_total{result="ok"}` counts them.
_COUNTED = [state for state in DeliveryState if state is not DeliveryState.DELIVERED]
_LAG_SECONDS = (0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200)


class WebhookMetrics:
    """Collectors on `registry`. Every result is there from the start: a rate must not miss the first."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.deliveries = Gauge(
            "zapd_deliveries", "Deliveries by state, without those that were delivered.", ["state"], registry=registry
        )
        attempts = Counter("zapd_delivery_attempts", "POSTs by result.", ["result"], registry=registry)
        self.results = {result: attempts.labels(result) for result in RESULTS}
        self.duration = Histogram(
            "zapd_delivery_attempt_duration_seconds",
            "Time of one POST, answer included.",
            buckets=_HTTP_SECONDS,
            registry=registry,
        )
        self.lag = Histogram(
            "zapd_delivery_lag_seconds",
            "Time from the event to the answer that took it.",
            buckets=_LAG_SECONDS,
            registry=registry,
        )
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

    def sampled(self, *, deliveries: Mapping[DeliveryState, int], disabled_endpoints: int) -> None:
        """Show what was counted in SQL; too dear to count at every change."""
        for state in _COUNTED:
            self.deliveries.labels(state.value).set(deliveries.get(state, 0))
        self.endpoints.labels("disabled").set(disabled_endpoints)
