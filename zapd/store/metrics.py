"""What the store measures."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from zapd.errors import Conflict, InvalidInput, Unavailable

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
_KINDS: dict[type[Exception], str] = {Conflict: "conflict", InvalidInput: "invalid", Unavailable: "unavailable"}
_COUNTS = (1, 4, 16, 64, 256, 1024)


class StoreMetrics:
    """Collectors on one registry."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.commit_duration = Histogram(
            "zapd_sql_commit_duration_seconds", "One group commit, to the disk", buckets=_SECONDS, registry=registry
        )
        self.commit_statements = Histogram(
            "zapd_sql_commit_statements", "Changes of callers in one group commit", buckets=_COUNTS, registry=registry
        )
        self.writer_waiting = Gauge("zapd_sql_writer_waiting", "Callers that wait for a commit", registry=registry)
        errors = Counter("zapd_sql_errors", "Changes that failed", ["kind"], registry=registry)
        self._errors = {kind: errors.labels(kind) for kind in (*_KINDS.values(), "other")}
        self.size_bytes = Gauge("zapd_sql_size_bytes", "What the database takes on its disk", registry=registry)

    def failed(self, error: Exception) -> None:
        """A caller's change failed."""
        self._errors[_KINDS.get(type(error), "other")].inc()
