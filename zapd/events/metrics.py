"""What the event hub counts. Names that operators choose are labels: they are as few as their definitions."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from zapd.model.hub import ActionState, Progress

_LAG_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300)
CHECKS = (
    *("signature", "timestamp", "api-key", "token", "basic", "headers", "json", "form", "content-type"),
    *("schema", "type", "dedup", "body", "disabled"),
)
ACTIONS = ("deliver", "send", "email", "notify", "enqueue", "emit", "listener", "sync")


class HubMetrics:
    """`accepted` by category, `rejected` by check, `processed` by result, `acted` by kind and result."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        accepted = Counter("zapd_events_accepted", "Events taken in.", ["category"], registry=registry)
        self.accepted = {name: accepted.labels(name) for name in ("own", "inbound", "duplicate")}
        rejected = Counter("zapd_hooks_rejected", "Inbound webhooks refused.", ["check"], registry=registry)
        self.rejected = {check: rejected.labels(check) for check in CHECKS}
        processed = Counter("zapd_events_processed", "Events that passed the routes.", ["result"], registry=registry)
        self.processed = {name: processed.labels(name) for name in ("done", "failed")}
        acted = Counter("zapd_actions", "Tries of actions that ended.", ["kind", "result"], registry=registry)
        self.acted = {(k, r): acted.labels(k, r) for k in ACTIONS for r in ("done", "retry", "dead")}
        self.lag = Histogram(
            "zapd_event_process_lag_seconds",
            "From an event's acceptance (or when it was due) to the commit of its actions.",
            buckets=_LAG_SECONDS,
            registry=registry,
        )
        waiting = Gauge("zapd_events_unprocessed", "Events that wait, or failed.", ["progress"], registry=registry)
        self.waiting = {name: waiting.labels(name) for name in (Progress.PENDING, Progress.FAILED)}
        unfinished = Gauge("zapd_actions_unfinished", "Actions that wait or are dead.", ["state"], registry=registry)
        states = (ActionState.PENDING, ActionState.RETRYING, ActionState.DEAD)
        self.open = {state: unfinished.labels(state) for state in states}
        self.quarantine = Gauge("zapd_quarantine_rows", "Refused inbound webhooks that are kept.", registry=registry)
        self.target_up = Gauge(
            "zapd_target_up", "0 while the breaker of a target is open.", ["target"], registry=registry
        )
        self.selftest = Gauge(
            "zapd_selftest_failures", "Stored events that the last self-test could not map.", registry=registry
        )
