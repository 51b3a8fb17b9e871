"""What services count and measure: names and kinds, sums and differences, quantiles. Pure.

Figures add up: those of workers to a replica's, of replicas to a deployment's, of minutes to an
hour's. That is why times are counts in buckets, and quantiles are worked out last.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from modelyard_runtime.families import FAMILIES, SECONDS, STATUSES, Family, Figures

REPLICAS = (
    Family("modelyard_replicas", "gauge", "Replicas that run, ready or not."),
    Family("modelyard_replicas_ready", "gauge", "Replicas that can answer."),
    Family(
        "modelyard_memory_bytes",
        "gauge",
        "Memory of all processes of the replicas; what processes share is counted once.",
    ),
    Family(
        "modelyard_restarts_total",
        "counter",
        "Replicas and workers that ended by themselves and were started again.",
    ),
)
"""What the agent tells of a service's replicas beside what they count themselves."""
GATEWAY = (
    Family(
        "modelyard_gateway_requests_total",
        "counter",
        "Requests that the gateway answered, by itself or with what a replica said.",
        (("status", STATUSES),),
    ),
    Family(
        "modelyard_gateway_request_duration_seconds",
        "histogram",
        "Time from sending a request to a replica to its answer.",
        bounds=SECONDS,
    ),
    Family(
        "modelyard_gateway_queue_wait_seconds",
        "histogram",
        "Time that requests waited at the gateway for a replica, of those that did.",
        bounds=SECONDS,
    ),
)
"""What the gateway tells of a deployment; without one, of what no replica had a part in."""
AGENT = (
    Family(
        "modelyard_agent_cpu_seconds_total", "counter", "Processor time of the agent's process."
    ),
    Family("modelyard_agent_memory_bytes", "gauge", "Memory of the agent's process."),
    Family("modelyard_agent_rollups_waiting", "gauge", "Minutes of figures not sent home yet."),
    Family(
        "modelyard_agent_rollups_lost_total",
        "counter",
        "Minutes of figures that were dropped because the server could not be reached for long.",
    ),
    Family(
        "modelyard_agent_feedback_truths_total",
        "counter",
        "Truths that the gateway was told of answers of a service, by what became of them.",
    ),
)
"""What the agent tells of itself."""
SERVER = (
    Family(
        "modelyard_server_requests_total",
        "counter",
        "Requests to the server that were answered; those for no route of its are `other`.",
    ),
    Family(
        "modelyard_server_request_duration_seconds",
        "histogram",
        "Time from a request to the server to the begin of its answer.",
        bounds=SECONDS,
    ),
    Family(
        "modelyard_server_operations", "gauge", "Operations that are kept, by what they came to."
    ),
    Family("modelyard_server_services", "gauge", "Services, by their state."),
    Family(
        "modelyard_server_capture_requests",
        "gauge",
        "Requests of a service since its capture was first on, by what became of their records.",
    ),
    Family(
        "modelyard_alert_firing",
        "gauge",
        "Alerts of services: 1 of one that fires, 0 of another.",
    ),
    Family(
        "modelyard_alert_messages_total",
        "counter",
        "Messages of alerts by channel: delivered, given up, and attempts that failed.",
    ),
    Family(
        "modelyard_server_agent_silence_seconds",
        "gauge",
        "Time since an agent was last heard of.",
    ),
    Family(
        "modelyard_server_cpu_seconds_total", "counter", "Processor time of the server's process."
    ),
    Family("modelyard_server_memory_bytes", "gauge", "Memory of the server's process."),
)
"""What the server tells of itself."""
SERVED = (*GATEWAY, *FAMILIES, *REPLICAS)
"""Everything that is told of a deployment."""
KNOWN = {family.name: family for family in (*SERVED, *AGENT)}

_LABELS = re.compile(r'(?:[a-z_]+="[^"\\\n]{0,200}"(?:,(?!$)|$))*')
_MOST = 2000
"""Series of one metric; there are no more statuses and protocols than that."""


def add(figures: Iterable[Figures]) -> Figures:
    """The sum; of gauges, too, which is right for those of different replicas."""
    total: Figures = {}
    for one in figures:
        for name, series in one.items():
            sums = total.setdefault(name, {})
            for labels, values in series.items():
                before = sums.get(labels)
                sums[labels] = (
                    [*values]
                    if before is None
                    else [a + b for a, b in zip(before, values, strict=True)]
                )
    return total


def since(now: Figures, before: Figures, scale: float = 1.0) -> Figures:
    """What was counted between two looks, times `scale`; gauges are as they are now."""
    return {
        name: series if is_gauge(name) else dict(_differences(series, before.get(name, {}), scale))
        for name, series in now.items()
    }


def _differences(
    now: Mapping[str, list[float]], before: Mapping[str, list[float]], scale: float
) -> Iterator[tuple[str, list[float]]]:
    for labels, values in now.items():
        earlier = before.get(labels, [0.0] * len(values))
        difference = [max(0.0, a - b) * scale for a, b in zip(values, earlier, strict=True)]
        if any(difference):
            yield labels, difference


def counted(figures: Figures) -> Figures:
    """Without the gauges: what stays true when its replica has gone."""
    return {name: series for name, series in figures.items() if not is_gauge(name)}


def went_back(now: Figures, before: Figures) -> bool:
    """Whether counting has begun anew in between."""
    return any(
        new < old
        for name, series in counted(before).items()
        for labels, values in series.items()
        for new, old in zip(now.get(name, {}).get(labels, [0.0] * len(values)), values, strict=True)
    )


def highest(figures: Iterable[Figures]) -> Figures:
    """Of gauges the highest value, of all else the last."""
    found: Figures = {}
    for one in figures:
        for name, series in one.items():
            if not is_gauge(name) or name not in found:
                found[name] = series
                continue
            known = found[name]
            found[name] = {
                labels: [max(known.get(labels, [0.0])[0], series.get(labels, [0.0])[0])]
                for labels in known.keys() | series.keys()
            }
    return found


def total(figures: Figures, name: str, having: str = "") -> float:
    """The sum of a number, or the count of a histogram, over the series whose labels have this."""
    family = KNOWN[name]
    return sum(
        sum(values[:-1]) if family.bounds else values[0]
        for labels, values in figures.get(name, {}).items()
        if having in labels
    )


def spread(figures: Figures, name: str) -> list[float]:
    """The counts of all buckets of a histogram, its series added up."""
    sums = [0.0] * (len(KNOWN[name].bounds) + 1)
    for values in figures.get(name, {}).values():
        sums = [a + b for a, b in zip(sums, values[:-1], strict=True)]
    return sums


def quantile(counts: Sequence[float], bounds: Sequence[float], share: float) -> float | None:
    """The value below which this share of what was measured lies, taken as even in its bucket.

    None when nothing was measured; the last bound when it lies beyond. It is what Prometheus'
    `histogram_quantile` says.
    """
    sums = list(accumulate(counts))
    if not sums or not sums[-1]:
        return None
    rank = share * sums[-1]
    bucket = bisect_left(sums, rank)
    if bucket >= len(bounds):
        return bounds[-1]
    below = sums[bucket - 1] if bucket else 0.0
    low = bounds[bucket - 1] if bucket else 0.0
    inside = (rank - below) / counts[bucket] if counts[bucket] else 0.0
    return low + (bounds[bucket] - low) * inside


def check(figures: Figures) -> None:
    """Refuse figures that are none of ours, whoever they come from.

    Raises:
        ValueError: A metric is not known, or has labels or values that it cannot have.
    """
    for name, series in figures.items():
        family = KNOWN.get(name)
        if family is None:
            raise ValueError(f"there is no metric `{name[:100]}`")
        if len(series) > _MOST:
            raise ValueError(f"`{name}` has more than {_MOST} series")
        for labels, values in series.items():
            if len(values) != family.width or not _LABELS.fullmatch(labels):
                raise ValueError(f"`{name}` does not look like this")


def write(told: Sequence[tuple[str, Figures]], families: Iterable[Family]) -> bytes:
    """Prometheus text of several sources, each behind labels of its own."""
    lines: list[str] = []
    for family in families:
        sources = [(own, one[family.name]) for own, one in told if one.get(family.name)]
        if not sources:
            continue
        lines += (f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}")
        for own, series in sources:
            for labels, values in sorted(series.items()):
                both = ",".join(part for part in (own, labels) if part)
                lines += family.write_one(both, values)
    return "\n".join([*lines, ""]).encode()


def label_text(**labels: str) -> str:
    """Labels as they are written; values are escaped."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def is_gauge(name: str) -> bool:
    """Whether it says how something is, and not how often it was."""
    return KNOWN[name].kind == "gauge"
