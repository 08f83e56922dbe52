"""Counting without collectors."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from zapd.telemetry.numbers import Histogram, counter, gauge, histogram, zeros


class Shown(Collector):
    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return list(self._families)


def text(*families: Metric) -> list[str]:
    registry = CollectorRegistry()
    registry.register(Shown(*families))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_a_histogram_counts_up_to_and_with_its_bounds() -> None:
    measured = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 2.0):
        measured.observe(seconds)

    assert measured.buckets() == ([("0.1", 2.0), ("1.0", 3.0), ("+Inf", 4.0)], 2.65)
    assert text(histogram("h_seconds", "", "kind", {"a": measured})) == [
        'h_seconds_bucket{kind="a",le="0.1"} 2.0',
        'h_seconds_bucket{kind="a",le="1.0"} 3.0',
        'h_seconds_bucket{kind="a",le="+Inf"} 4.0',
        'h_seconds_count{kind="a"} 4.0',
        'h_seconds_sum{kind="a"} 2.65',
    ]


def test_numbers_are_shown_under_their_labels() -> None:
    values = zeros([("x", "y"), ("x", "z")])
    values["x", "z"] += 2

    assert text(counter("c", "", ("a", "b"), values)) == ['c_total{a="x",b="y"} 0.0', 'c_total{a="x",b="z"} 2.0']
    assert text(gauge("g", "", ("a", "b"), values)) == ['g{a="x",b="y"} 0.0', 'g{a="x",b="z"} 2.0']
