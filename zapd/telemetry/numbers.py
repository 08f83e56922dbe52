"""Numbers that are counted on hot paths: plain integers, read at the scrape.

A collector of prometheus_client takes a lock and costs more per observation than a claim or a commit's share does.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

Labels = tuple[str, ...]


class Histogram:
    """Counts of durations in seconds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """One duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    @property
    def total(self) -> float:
        """All seconds together."""
        return self._total

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulated counts by upper bound, and the sum: what Prometheus wants."""
        seen = 0
        rows = []
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            seen += count
            rows.append((bound, float(seen)))
        return rows, self._total


def counter(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """A counter by labels; `name` without `_total`."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauge(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """A gauge by labels."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def histogram(name: str, text: str, label: str, values: Mapping[str, Histogram]) -> Metric:
    """A histogram by one label."""
    family = HistogramMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], *value.buckets())
    return family


def one_histogram(name: str, text: str, value: Histogram) -> Metric:
    """A histogram without labels."""
    family = HistogramMetricFamily(name, text, labels=())
    family.add_metric((), *value.buckets())
    return family


def zeros(keys: Iterable[Labels]) -> dict[Labels, int]:
    """Every series from the start at 0: one that appears at 1 never shows an increase."""
    return dict.fromkeys(keys, 0)
