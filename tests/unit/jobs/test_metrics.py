"""Counting without collectors."""

from prometheus_client import CollectorRegistry

from zapd.jobs.claim import Ending
from zapd.jobs.metrics import JobMetrics


def test_the_registry_reads_what_was_counted() -> None:
    registry = CollectorRegistry()
    metrics = JobMetrics(registry=registry, queues=["one", "two"])
    metrics.queues["one"].outcomes["retry"] += 2
    metrics.queues["one"].ended(Ending.DEAD, "poison")
    metrics.queues["two"].ended(Ending.DEAD, "poison")
    metrics.queues["two"].ended(Ending.DEAD, "whatever a handler says")
    metrics.redis_answered("claim", 0.0001)
    metrics.redis_answered("stats", 0.0001)

    value = registry.get_sample_value
    assert value("zapd_jobs_finished_total", {"queue": "one", "outcome": "retry"}) == 2
    assert value("zapd_job_deaths_total", {"reason": "poison"}) == 2
    assert value("zapd_redis_command_duration_seconds_count", {"command": "claim"}) == 1
    assert value("zapd_redis_up") == 1


def test_redis_is_down_after_a_failure_until_it_answers() -> None:
    registry = CollectorRegistry()
    metrics = JobMetrics(registry=registry, queues=[])
    metrics.redis_answered("claim", 0.1)

    metrics.redis_failed()

    assert registry.get_sample_value("zapd_redis_up") == 0


def test_redis_coming_back_is_counted_and_its_first_answer_is_not() -> None:
    registry = CollectorRegistry()
    metrics = JobMetrics(registry=registry, queues=[])
    metrics.redis_failed()
    metrics.redis_answered("claim", 0.1)
    assert registry.get_sample_value("zapd_redis_reconnects_total") == 0

    metrics.redis_failed()
    metrics.redis_failed()
    metrics.redis_answered("claim", 0.1)
    metrics.redis_answered("claim", 0.1)

    assert registry.get_sample_value("zapd_redis_reconnects_total") == 1


def test_the_number_of_series_does_not_grow_with_use() -> None:
    registry = CollectorRegistry()
    metrics = JobMetrics(registry=registry, queues=["one"])

    def series() -> int:
        return sum(len(family.samples) for family in registry.collect())

    before = series()
    for number in range(1000):
        metrics.queues["one"].ended(Ending.DEAD, f"reason {number}")
        metrics.queues["one"].wait.observe(number)

    assert series() == before
