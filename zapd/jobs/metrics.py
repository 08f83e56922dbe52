"""The engine's numbers for Prometheus. Plain integers that are read at scrape time.

A collector of prometheus_client costs more per observation than a claim does, and everything here runs on one loop.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from zapd.jobs.claim import Ending
from zapd.telemetry.numbers import Histogram

#: Two histograms for each queue: a bucket costs two series for each, and rendering is what series cost.
JOB_SECONDS = (0.01, 0.1, 1.0, 10.0, 60.0)
COMMAND_SECONDS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 1.0)
OUTCOMES = ("done", "retry", "snooze", "discard", "dead", "canceled")
DEATHS = ("attempts", "poison", "expired", "malformed")
STATES = ("ready", "delayed", "staged", "active", "dead")
_OWN_REASONS = ("attempts", "poison")  # to be dead for; any other is the handler's word that it can never work
COMMANDS = {"claim": "claim", "finish": "finish", "enqueue": "enqueue", "beat": "heartbeat"}  # script -> label


@dataclass(slots=True)
class QueueNumbers:
    """What is counted of one queue."""

    enqueued: int = 0
    claimed: int = 0
    reclaimed: int = 0
    fenced: int = 0
    slots: int = 0
    slots_used: int = 0
    paused: bool = False
    quarantined: int = 0
    tenants_held: int = 0
    shut: int = 0
    oldest_ready_ms: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    deaths: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DEATHS, 0))
    jobs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    wait: Histogram = field(default_factory=lambda: Histogram(JOB_SECONDS))
    run: Histogram = field(default_factory=lambda: Histogram(JOB_SECONDS))

    def ended(self, ending: Ending, reason: str) -> None:
        """Redis has taken the end of a claim. A reason of a handler's own makes no series of its own."""
        match ending:
            case Ending.DONE:
                self.outcomes["done"] += 1
            case Ending.RETRY:
                self.outcomes["retry"] += 1
            case Ending.CANCELED:
                self.outcomes["canceled"] += 1
            case Ending.SNOOZE | Ending.PARK:
                self.outcomes["snooze"] += 1
            case Ending.DEAD:
                self.outcomes["dead" if reason in _OWN_REASONS else "discard"] += 1
                if reason in self.deaths:
                    self.deaths[reason] += 1


class JobMetrics(Collector):
    """The numbers of all queues. Every label value exists from the start, at 0."""

    def __init__(self, *, registry: CollectorRegistry, queues: Iterable[str]) -> None:
        self.queues = {name: QueueNumbers() for name in queues}
        self._commands = {label: Histogram(COMMAND_SECONDS) for label in COMMANDS.values()}
        self._redis_up = 0
        self._reconnects = 0
        self._known = False  # whether Redis answered before
        self.redis_memory = 0
        self.redis_skew = 0.0
        registry.register(self)

    def redis_answered(self, script: str, seconds: float) -> None:
        if not self._redis_up:
            self._reconnects += self._known
            self._redis_up, self._known = 1, True
        if label := COMMANDS.get(script):
            self._commands[label].observe(seconds)

    def redis_failed(self) -> None:
        self._redis_up = 0

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at each scrape."""
        yield from self._queue_gauges()
        yield from self._queue_counters()
        yield from self._histograms()
        deaths = {reason: sum(q.deaths[reason] for q in self.queues.values()) for reason in DEATHS}
        yield _counter("zapd_job_deaths", "Jobs that went to the dead letters", "reason", deaths)
        yield GaugeMetricFamily("zapd_redis_up", "1 when Redis answered the last command", value=self._redis_up)
        yield CounterMetricFamily("zapd_redis_reconnects", "Times Redis came back", value=self._reconnects)
        yield GaugeMetricFamily("zapd_redis_memory_bytes", "What Redis uses for its data", value=self.redis_memory)
        yield GaugeMetricFamily(
            "zapd_redis_clock_skew_seconds", "By how much its clock is ahead of ours", value=self.redis_skew
        )

    def _queue_gauges(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("zapd_queue_jobs", "Jobs in the queue", labels=["queue", "state"])
        for name, numbers in self.queues.items():
            for state, count in numbers.jobs.items():
                jobs.add_metric([name, state], count)
        yield jobs
        for metric, text, values in (
            (
                "zapd_queue_oldest_ready_timestamp_seconds",
                "Since when the oldest ready job waits; 0: none",
                {n: q.oldest_ready_ms / 1000 for n, q in self.queues.items()},
            ),
            ("zapd_queue_paused", "1 when the queue is paused", {n: float(q.paused) for n, q in self.queues.items()}),
            (
                "zapd_queue_tenants_held",
                "Tenants of whom something waits for their limit over all queues",
                {n: q.tenants_held for n, q in self.queues.items()},
            ),
            ("zapd_pool_slots", "Handlers that may run at once", {n: q.slots for n, q in self.queues.items()}),
            ("zapd_pool_slots_used", "Handlers that run", {n: q.slots_used for n, q in self.queues.items()}),
        ):
            yield _gauge(metric, text, values)

    def _queue_counters(self) -> Iterator[Metric]:
        finished = CounterMetricFamily("zapd_jobs_finished", "Tries that ended", labels=["queue", "outcome"])
        for name, numbers in self.queues.items():
            for outcome, count in numbers.outcomes.items():
                finished.add_metric([name, outcome], count)
        yield finished
        for metric, text, values in (
            ("zapd_jobs_enqueued", "Jobs added", {n: q.enqueued for n, q in self.queues.items()}),
            ("zapd_jobs_claimed", "Jobs claimed", {n: q.claimed for n, q in self.queues.items()}),
            ("zapd_jobs_reclaimed", "Jobs taken from dead daemons", {n: q.reclaimed for n, q in self.queues.items()}),
            (
                "zapd_jobs_quarantined",
                "Entries and keys in Redis that zapd did not write, kept aside",
                {n: q.quarantined for n, q in self.queues.items()},
            ),
            ("zapd_jobs_fenced", "Finishes refused: the claim was lost", {n: q.fenced for n, q in self.queues.items()}),
        ):
            yield _counter(metric, text, "queue", values)
        shut = sum(numbers.shut for numbers in self.queues.values())
        yield CounterMetricFamily(
            "zapd_claims_shut", "Claims that the rate over all queues let get nothing", value=shut
        )

    def _histograms(self) -> Iterator[Metric]:
        wait = HistogramMetricFamily("zapd_job_wait_seconds", "From due to start", labels=["queue"])
        run = HistogramMetricFamily("zapd_job_run_seconds", "From start to end of one try", labels=["queue"])
        for name, numbers in self.queues.items():
            wait.add_metric([name], *numbers.wait.buckets())
            run.add_metric([name], *numbers.run.buckets())
        commands = HistogramMetricFamily(
            "zapd_redis_command_duration_seconds", "From call to answer of a script", labels=["command"]
        )
        for command, durations in self._commands.items():
            commands.add_metric([command], *durations.buckets())
        yield from (wait, run, commands)


def _gauge(name: str, text: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=["queue"])
    for queue, value in values.items():
        metric.add_metric([queue], value)
    return metric


def _counter(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], value)
    return metric
