"""The figures of a replica as OpenTelemetry has metrics: the same names, sums since its start."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from modelyard_runtime.families import FAMILIES, Family

_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')
_UNITS = (("_seconds", "s"), ("_bytes", "By"))
_SINCE = AggregationTemporality.CUMULATIVE


def metrics_data(
    total: Sequence[float], resource: Resource, scope: InstrumentationScope, began: int
) -> MetricsData:
    """All figures; `total` is `Slots.total()`, and `began` when counting did, in ns since 1970."""
    now = time.time_ns()
    every = [_metric(family, total, began, now) for family in FAMILIES]
    metrics = [metric for metric in every if metric.data.data_points]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])


def _metric(family: Family, total: Sequence[float], began: int, now: int) -> Metric:
    name = family.name.removesuffix("_total")
    unit = next((unit for end, unit in _UNITS if name.endswith(end)), "1")
    data: Histogram | Sum | Gauge
    if family.bounds:
        histogram = [_histogram(family, *one, began, now) for one in _series(family, total)]
        data = Histogram(histogram, _SINCE)
    else:
        numbers = [
            NumberDataPoint(labels, began, now, values[0])
            for labels, values in _series(family, total)
        ]
        data = Gauge(numbers) if family.kind == "gauge" else Sum(numbers, _SINCE, True)
    return Metric(name, family.help, unit, data)


def _histogram(
    family: Family, labels: dict[str, str], values: Sequence[float], began: int, now: int
) -> HistogramDataPoint:
    *counts, total = values
    whole = [int(count) for count in counts]
    least, most = _range(family.bounds, whole)
    return HistogramDataPoint(
        labels, began, now, sum(whole), total, whole, family.bounds, least, most
    )


def _range(bounds: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """Between what all values lie, as far as buckets tell: the values themselves are not kept."""
    filled = [bucket for bucket, count in enumerate(counts) if count]
    if not filled:
        return 0.0, 0.0
    first, last = filled[0], min(filled[-1], len(bounds) - 1)
    return (bounds[first - 1] if first else 0.0), bounds[last]


def _series(
    family: Family, total: Sequence[float]
) -> Iterator[tuple[dict[str, str], Sequence[float]]]:
    for number, labels in enumerate(family.series()):
        at = family.start + number * family.width
        values = total[at : at + family.width]
        if not family.labels or any(values):
            yield dict(_LABEL.findall(labels)), values
