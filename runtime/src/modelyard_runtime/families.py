"""What a replica counts and measures: names, kinds, labels, buckets, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

CONTENT_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")

PROTOCOLS = ("score", "infer", "mlflow", "grpc")
STAGES = ("decode", "run", "encode")
REFUSALS = ("key", "in_flight", "queue_length", "queue_wait")

SECONDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the buckets of times."""
SIZES = tuple(float(2**power) for power in range(13))
"""Upper bounds of the buckets of batch sizes."""

Figures = dict[str, dict[str, list[float]]]
"""By the name of a metric and its labels as they are written: a number, or the count of every
bucket and one beyond, and the sum. Label values that never occurred are left out."""

STATUSES = tuple(str(status) for status in range(100, 600))


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all its label values; its slots lie together, beginning at `start`."""

    name: str
    kind: str
    help: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    bounds: tuple[float, ...] = ()
    start: int = 0

    @property
    def width(self) -> int:
        """Slots for one set of label values: a number, or a bucket each, one beyond, and a sum."""
        return len(self.bounds) + 2 if self.bounds else 1

    @property
    def size(self) -> int:
        """Slots for everything."""
        return self.width * len(self.series())

    def series(self) -> list[str]:
        """Every set of label values as it is written, in the order of the slots."""
        written = [""]
        for name, values in self.labels:
            written = [
                f'{text},{name}="{value}"' if text else f'{name}="{value}"'
                for text in written
                for value in values
            ]
        return written

    def write(self, values: Sequence[float]) -> Iterator[str]:
        """Its lines, without those of label values that never occurred if there are several."""
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        sole = not self.labels
        for index, labels in enumerate(self.series()):
            at = self.start + index * self.width
            own = values[at : at + self.width]
            if sole or any(own):
                yield from self.write_one(labels, own)

    def write_one(self, labels: str, values: Sequence[float]) -> Iterator[str]:
        """The lines of one set of label values."""
        if not self.bounds:
            yield sample(self.name, labels, values[0])
            return
        *buckets, total = values
        counts = list(accumulate(buckets))
        comma = "," if labels else ""
        for bound, count in zip([*map(number, self.bounds), "+Inf"], counts, strict=True):
            yield sample(f"{self.name}_bucket", f'{labels}{comma}le="{bound}"', count)
        yield sample(f"{self.name}_sum", labels, total)
        yield sample(f"{self.name}_count", labels, counts[-1])


def _lay_out(*families: Family) -> tuple[Family, ...]:
    placed: list[Family] = []
    start = 0
    for family in families:
        placed.append(
            Family(family.name, family.kind, family.help, family.labels, family.bounds, start)
        )
        start += family.size
    return tuple(placed)


def sample(name: str, labels: str, value: float) -> str:
    """One line of the text."""
    return f"{name}{{{labels}}} {number(value)}" if labels else f"{name} {number(value)}"


def number(value: float) -> str:
    """A value as it is written: whole where it is."""
    return str(int(value)) if value == int(value) else repr(value)


FAMILIES = _lay_out(
    Family(
        "modelyard_requests_total",
        "counter",
        "Scoring requests that were answered, refusals included.",
        (("protocol", PROTOCOLS), ("status", STATUSES)),
    ),
    Family(
        "modelyard_request_duration_seconds",
        "histogram",
        "Time from a whole request to its answer.",
        (("protocol", PROTOCOLS),),
        SECONDS,
    ),
    Family(
        "modelyard_queue_wait_seconds",
        "histogram",
        "Time that a request waited for its turn to be scored.",
        bounds=SECONDS,
    ),
    Family(
        "modelyard_stage_duration_seconds",
        "histogram",
        "Time to read the input of a request, to call the model, to write its answer.",
        (("stage", STAGES),),
        SECONDS,
    ),
    Family(
        "modelyard_batch_rows",
        "histogram",
        "Rows that were scored in one call, where requests are scored together.",
        bounds=SIZES,
    ),
    Family(
        "modelyard_batch_requests",
        "histogram",
        "Requests that were scored in one call, where requests are scored together.",
        bounds=SIZES,
    ),
    Family(
        "modelyard_requests_refused_total",
        "counter",
        "Requests that were refused for want of a key or of room, by what was lacking.",
        (("reason", REFUSALS),),
    ),
    Family(
        "modelyard_non_finite_answers_total",
        "counter",
        "Answers in which a NaN or an infinity was replaced by null.",
    ),
    Family(
        "modelyard_cpu_seconds_total",
        "counter",
        "Processor time of the workers, user and system.",
    ),
    Family("modelyard_requests_in_flight", "gauge", "Requests that are waiting or being scored."),
    Family("modelyard_queue_length", "gauge", "Requests that are waiting for their turn."),
)
BY_NAME = {family.name: family for family in FAMILIES}
WIDTH = FAMILIES[-1].start + FAMILIES[-1].size
"""Slots of one worker."""
