"""A replay: captured requests, scored once more by another image, and what came of it.

Pure: `monitoring.replaying` sends and counts, `control.replays` starts the image and keeps the
report.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from pydantic import BeforeValidator, Field, computed_field

from modelyard.domain.difference import Answer, Difference, Kind, Tolerance, compare, is_repaired
from modelyard.domain.quality import ComparedQuality
from modelyard.domain.values import Digest, Seconds, Spec, Value

GOOD_FOR = timedelta(hours=24)
"""After this a replay lets no update through any more."""
LEAST_COMPARED = 0.5
"""Share of the chosen requests that has to be compared, or a replay lets nothing through: too few
may agree by chance, and those that cannot be sent may be the very ones that differ."""
TIME_BOUNDS = tuple(round(step * 10.0**power, 10) for power in range(-4, 2) for step in (1, 2, 5))
"""Upper bounds of the classes that times are counted in, in seconds; beyond them is one more."""
_MOST_EXAMPLES = 50
_MOST_FAILURES = 20
_LONGEST_LINE = 300


def _parse_part(text: object) -> object:
    """The number of `"0.5%"`; numbers are percent already."""
    if isinstance(text, str):
        return text.strip().removesuffix("%").rstrip()
    return text


Part = Annotated[
    float,
    BeforeValidator(_parse_part, json_schema_input_type=float | str),
    Field(ge=0, le=100, allow_inf_nan=False),
]
"""A share of requests: text (`"0.5%"`) or a number of percent from 0 to 100; kept as the number."""


class Choice(StrEnum):
    """Which of the captured requests are taken, where there are more than are wanted."""

    NEWEST = "newest"
    RANDOM = "random"
    """At random, but always the same of the same requests."""


class ReplayOptions(Spec):
    """Which requests are scored again, and when an answer counts as the same."""

    requests: int = Field(1000, ge=1, le=1_000_000)
    """Most requests that are taken."""
    choice: Choice = Choice.NEWEST
    """Which ones, where there are more: the `newest`, or `random` ones."""
    altered: bool = False
    """Take also those whose inputs a rule of capture has altered, as they are recorded."""
    tolerance: Tolerance = Tolerance()
    """What counts as the same answer."""
    max_diff: Part | None = None
    """Percent of the compared requests that may be answered otherwise, `"2%"`."""


class ReplayGate(ReplayOptions):
    """A replay that an update has to pass."""

    max_diff: Part = 0.0
    """Percent of the compared requests that may be answered otherwise, `"2%"`; at least half of
    those that are taken have to be compared."""
    last: Seconds | None = Field(None, gt=0)
    """Only requests of so long ago, `"7d"`; unset: all that there are."""


class Unfit(StrEnum):
    """Why a body cannot stand for what was sent."""

    NONE = "none"
    """There is none: a `GET`, whose query is not recorded, or an empty body."""
    CUT = "cut"
    """It was too long to be kept, or was sent in parts."""
    WITHHELD = "withheld"
    """A rule could not be applied to it, so it was not kept."""
    ALTERED = "altered"
    """A rule has hashed or encrypted fields of it, or may have dropped some."""
    GATEWAY = "gateway"
    """An answer of the gateway's own: no model has given it."""


class Times(Value):
    """How long answers took, in seconds."""

    count: int
    p50: float
    p95: float
    p99: float
    longest: float
    histogram: tuple[int, ...]
    """How many there are by `TIME_BOUNDS`, and beyond."""


class Failure(Value):
    """A way in which the candidate failed."""

    status: int
    """0: no answer at all."""
    text: str
    """Beginning of the first such answer."""
    count: int
    prediction_id: str
    """Of the first request that was answered so."""


class Example(Value):
    """A request that is answered otherwise."""

    prediction_id: str
    time: datetime
    difference: Difference


class Found(Value):
    """What came of the requests."""

    requests: int
    """Taken from the records."""
    left_out: dict[Unfit, int]
    """Those that could not be sent, by what was wrong with their inputs."""
    uncompared: dict[Unfit, int]
    """Those that were sent, but whose recorded answer is none to compare with."""
    equal: int
    repaired: int
    """Those that had failed with a status of 5xx and are answered now: no differences."""
    different: int
    kinds: dict[Kind, int]
    """The different ones, by the gravest of what differs."""
    errors: int
    """Answers of the candidate with a status of 5xx, and those that never came."""
    failures: tuple[Failure, ...]
    """Statuses of 400 and more, the most frequent first."""
    largest: tuple[Example, ...]
    """The largest differences, the gravest kind first."""
    images: dict[str, int]
    """Who had answered, `name:version`."""
    first: datetime | None
    """When the oldest of the requests was answered."""
    last: datetime | None
    before: Times | None
    """As they were recorded, of the requests that both have answered with success."""
    after: Times | None
    """Of the candidate, the same requests."""
    quality: ComparedQuality | None = None
    """Of the answers to these requests whose truths were told; null: none was."""
    unmeasured: str | None = None
    """Why the quality cannot be measured, though truths were told."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def replayed(self) -> int:
        """Requests that were sent."""
        return self.requests - sum(self.left_out.values())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def compared(self) -> int:
        """Requests with two answers."""
        return self.equal + self.repaired + self.different

    @computed_field  # type: ignore[prop-decorator]
    @property
    def percent(self) -> float:
        """How many of the compared ones differ."""
        return 100 * self.different / self.compared if self.compared else 0.0


class Replay(Value):
    """The report of a replay."""

    id: UUID
    """Of the operation that made it."""
    service: str
    service_id: UUID
    image: str
    """The candidate, `name:version`."""
    digest: Digest
    choice: Choice
    wanted: int
    """Requests that were asked for."""
    since: datetime | None
    until: datetime | None
    tolerance: Tolerance
    max_diff: float | None
    """Percent of the compared requests that may differ; null: it was not asked."""
    settings_mark: str
    """Stands for the settings of the candidate's replica: the same for the same ones."""
    workers: int
    found: Found
    began_at: datetime
    ended_at: datetime

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool | None:
        """Whether no more differs than may; None where that was not asked.

        What compares nothing proves nothing: that is never a pass. Nor is what compares too few.
        """
        if not self.found.compared:
            return False
        if self.max_diff is None:
            return None
        return not self.proves_nothing and self.found.percent <= self.max_diff

    @property
    def proves_nothing(self) -> bool:
        """Whether nothing was compared, or too little to say that no more differs than may."""
        found = self.found
        if self.max_diff is None:
            return not found.compared
        return not found.compared or found.compared < LEAST_COMPARED * found.requests

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> str:
        """One sentence."""
        found = self.found
        if not found.compared:
            return _nothing_compared(found)
        line = (
            f"{found.different} of {found.compared} requests are answered otherwise by "
            f"{self.image}, {percent_text(found.percent)}"
        )
        if self.max_diff is not None:
            line += f"; {percent_text(self.max_diff)} may be"
        if self.proves_nothing:
            line += (
                f". Only {found.compared} of {found.requests} requests could be compared, and "
                f"{percent_text(100 * LEAST_COMPARED)} have to be: {_reasons(found)}"
            )
        return f"{line}."

    @property
    def way_out(self) -> str | None:
        """How more requests can be compared; None: no more need be."""
        altered = self.found.left_out.get(Unfit.ALTERED)
        if altered:
            return (
                f"{altered} requests were left out because a rule of "
                "capture has altered their inputs; --altered (`altered: true` in a service file) "
                "takes them as they are recorded"
            )
        if self.found.compared and self.proves_nothing:
            return (
                "replay when more requests are captured that can be compared, or choose others: "
                "more of them, or of another time (`last` in a service file)"
            )
        return None


def _nothing_compared(found: Found) -> str:
    if not found.requests:
        return "There is no request to compare."
    return f"None of {found.requests} requests could be compared: {_reasons(found)}."


def _reasons(found: Found) -> str:
    """Why requests could not be compared."""
    return ", ".join(
        f"{what} ({', '.join(f'{why} {number}' for why, number in counts.items())})"
        for what, counts in (
            ("not sent", found.left_out),
            ("without an answer to compare with", found.uncompared),
        )
        if counts
    )


def percent_text(percent: float) -> str:
    """Percent as people read them, and never 0 of something."""
    return f"{percent:.2g} %" if 0 < percent < 1 else f"{percent:.4g} %"


def why_no_proof(
    replay: Replay, *, service_id: UUID, digest: str, settings_mark: str, now: datetime
) -> str | None:
    """Why a replay does not let an update through, in words that go on from "it"; None: it does.

    Args:
        replay: Its report.
        service_id: Of the service that is to be updated.
        digest: Of the image that it is to run.
        settings_mark: Of the settings that its replicas are to have.
        now: The time.
    """
    if replay.service_id != service_id:
        return f"is of service `{replay.service}`"
    if replay.digest != digest:
        return f"is of image {replay.image}"
    if replay.settings_mark != settings_mark:
        return "was made with other settings of the replicas"
    if now - replay.ended_at > GOOD_FOR:
        return f"ended more than {GOOD_FOR.total_seconds() / 3600:.0f} hours ago"
    if replay.max_diff is None:
        return "was not asked how much may differ"
    return None if replay.passed else f"did not pass: {replay.verdict.rstrip('.')}"


class Recorded(NamedTuple):
    """A request as it was captured."""

    prediction_id: str
    time: datetime
    image: str
    path: str
    status: int
    seconds: float
    code: str
    """Of the gateway's own answers; else empty."""
    input: bytes | None
    input_type: str
    input_size: int
    output: bytes | None
    output_size: int
    withheld: str
    labelled: bool = False
    """A truth of it was told."""

    @property
    def answer(self) -> Answer:
        """What was answered."""
        return Answer(self.status, self.output or b"")

    @property
    def can_be_judged(self) -> bool:
        """Whether what it was answered can be held against what was true."""
        return self.labelled and self.answer.succeeded and self.output is not None

    def why_not_sent(self, *, altered: bool) -> Unfit | None:
        """Why it cannot be scored again; None: it can.

        Args:
            altered: It is to be scored though a rule has altered it.
        """
        if "inputs" in self.withheld.split(","):
            return Unfit.WITHHELD
        if self.input is None:
            return Unfit.CUT if self.input_size else Unfit.NONE
        if not altered and _is_altered(self.input, self.input_size):
            return Unfit.ALTERED
        return None

    def why_not_compared(self) -> Unfit | None:
        """Why there is nothing to compare an answer with; None: there is."""
        if self.code:
            return Unfit.GATEWAY
        if self.status >= _REFUSED:
            return None  # only the status counts
        if "outputs" in self.withheld.split(","):
            return Unfit.WITHHELD
        if self.output is None:
            return Unfit.CUT
        return Unfit.ALTERED if _is_altered(self.output, self.output_size) else None


_REFUSED = 400


def _is_altered(body: bytes, size: int) -> bool:
    """Whether a rule has changed a body, or may have.

    Those that none has touched are kept byte by byte, unless their numbers or texts are spelled
    unlike ours: a dropped field leaves no trace, so that another length may mean either.
    """
    return len(body) != size or has_stand_ins(body)


def has_stand_ins(body: bytes | None) -> bool:
    """Whether there are hashed or encrypted values in a recorded body."""
    return body is not None and (b'"hmac:' in body or b'"enc:' in body)


class Findings:
    """Adds up what came of each request.

    Args:
        tolerance: What counts as the same.
    """

    def __init__(self, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self._left_out: Counter[Unfit] = Counter()
        self._uncompared: Counter[Unfit] = Counter()
        self._kinds: Counter[Kind] = Counter()
        self._images: Counter[str] = Counter()
        self._failures: dict[tuple[int, str], Failure] = {}
        self._largest: list[tuple[tuple[int, float], int, Example]] = []
        self._order = count()
        self._before: list[float] = []
        self._after: list[float] = []
        self._first: datetime | None = None
        self._last: datetime | None = None
        self.requests = self.equal = self.repaired = self.errors = 0

    @property
    def different(self) -> int:
        """Requests that are answered otherwise."""
        return self._kinds.total()

    def leave_out(self, request: Recorded, why: Unfit) -> None:
        """A request could not be sent."""
        self._take(request)
        self._left_out[why] += 1

    def add(self, request: Recorded, answer: Answer, seconds: float) -> None:
        """A request was sent, and this came back after so many seconds."""
        self._take(request)
        if answer.failed:
            self.errors += 1
        if not answer.succeeded:
            self._fail(request, answer)
        elif request.answer.succeeded:
            self._before.append(request.seconds)
            self._after.append(seconds)
        why = request.why_not_compared()
        lost = why not in (None, Unfit.GATEWAY) and (answer.failed or answer.status >= _REFUSED)
        if why is not None and not lost:  # to see that it fails now takes no recorded body
            self._uncompared[why] += 1
            return
        difference = compare(request.answer, answer, self._tolerance)
        if difference is None:
            self.equal += 1
        elif is_repaired(request.answer, answer):
            self.repaired += 1
        else:
            self._differ(request, difference)

    def found(self) -> Found:
        """All of it."""
        largest = sorted(self._largest, key=lambda one: (one[2].difference.rank, -one[1]))
        failures = sorted(self._failures.values(), key=lambda one: -one.count)
        return Found(
            requests=self.requests,
            left_out=dict(self._left_out),
            uncompared=dict(self._uncompared),
            equal=self.equal,
            repaired=self.repaired,
            different=self.different,
            kinds=dict(self._kinds),
            errors=self.errors,
            failures=tuple(failures),
            largest=tuple(example for _, _, example in largest),
            images=dict(self._images),
            first=self._first,
            last=self._last,
            before=_times(self._before),
            after=_times(self._after),
        )

    def _take(self, request: Recorded) -> None:
        self.requests += 1
        self._images[request.image] += 1
        self._first = min(self._first or request.time, request.time)
        self._last = max(self._last or request.time, request.time)

    def _fail(self, request: Recorded, answer: Answer) -> None:
        text = first_line(answer.body)
        known = self._failures.get((answer.status, text))
        if known is None and len(self._failures) >= _MOST_FAILURES:
            text, known = "others", self._failures.get((answer.status, "others"))
        self._failures[answer.status, text] = Failure(
            status=answer.status,
            text=text,
            count=known.count + 1 if known else 1,
            prediction_id=known.prediction_id if known else request.prediction_id,
        )

    def _differ(self, request: Recorded, difference: Difference) -> None:
        self._kinds[difference.kind] += 1
        example = Example(
            prediction_id=request.prediction_id, time=request.time, difference=difference
        )
        gravity, size = difference.rank
        entry = ((-gravity, -size), -next(self._order), example)
        if len(self._largest) < _MOST_EXAMPLES:
            heapq.heappush(self._largest, entry)
        else:
            heapq.heappushpop(self._largest, entry)


def first_line(body: bytes) -> str:
    """The beginning of an answer, on one line, as harmless text."""
    text = " ".join(body[: 2 * _LONGEST_LINE].decode("utf-8", "replace").split())
    return "".join(c if c.isprintable() else "�" for c in text)[:_LONGEST_LINE]


def _times(seconds: Sequence[float]) -> Times | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    histogram = [0] * (len(TIME_BOUNDS) + 1)
    for value in ordered:
        histogram[bisect_left(TIME_BOUNDS, value)] += 1
    shares: dict[str, Any] = {
        f"p{share}": ordered[-(-len(ordered) * share // 100) - 1] for share in (50, 95, 99)
    }
    return Times(count=len(ordered), **shares, longest=ordered[-1], histogram=tuple(histogram))
