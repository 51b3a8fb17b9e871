"""Captured requests as files, and the account of what became of every request."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from modelyard.domain.values import Digest, Name, ServiceName, Value

SegmentName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,199}$")]

UNKNOWN_MODEL = "unknown"
"""The model of records that no deployment can be told of."""


class AnswerForm(StrEnum):
    """How an answer about captured records is written."""

    JSON = "json"
    """Columns, types and rows: `CapturedTable`."""
    CSV = "csv"
    PARQUET = "parquet"


class Segment(Value):
    """A closed file of captured records: Parquet."""

    name: SegmentName
    """The same whenever the same records are sealed, and unique."""
    service: UUID
    service_name: ServiceName
    model: Name
    """Of the image that answered, the first if it has several."""
    version: int = Field(ge=0)
    image: str
    """`name:version`; empty where none is known."""
    date: date
    """Of its records, UTC."""
    rows: int = Field(ge=0)
    requests: int = Field(ge=0)
    """Answers that rows are of; those that a script collected are of none."""
    first: datetime
    """When the first of its records was answered."""
    last: datetime
    size: int = Field(gt=0)
    """Bytes."""
    digest: Digest


JOINED = "joined-"
"""What the names of segments begin with that have been joined out of others here."""
_JOINED = re.compile(rf"{JOINED}[0-9a-f]{{32}}")
LARGE = 64 << 20
"""Bytes from which a file is not joined with others any more."""
_AGE = timedelta(minutes=10)
_FEWEST = 8
_MOST_AT_ONCE = 500


def is_joined(name: str) -> bool:
    """Whether a segment was joined out of others here; those of hosts have longer names."""
    return _JOINED.fullmatch(name) is not None


def joinable(
    segments: Iterable[Segment], now: datetime, sketched: Container[str] = ()
) -> list[tuple[Segment, ...]]:
    """Which files should become one: small ones of one image and day, in the order given.

    Only those whose records are some minutes old, and not before there are several of them, so
    that the same records are not written too often; those of former days are not waited for. All
    or none of them are in sketches, so that each record gets into one once.

    Args:
        segments: All that there are.
        now: The time.
        sketched: Names of those whose rows are in sketches.
    """
    groups: dict[tuple[object, ...], list[Segment]] = defaultdict(list)
    sizes: Counter[tuple[object, ...]] = Counter()
    for one in segments:
        if one.size > LARGE // 2 or now - one.last < _AGE:
            continue
        origin = (one.service, one.service_name, one.model, one.version, one.image, one.date)
        whose = (*origin, one.name in sketched)
        sizes[whose] += one.size
        if sizes[whose] <= LARGE and len(groups[whose]) < _MOST_AT_ONCE:
            groups[whose].append(one)
    yesterday = (now - timedelta(days=1)).date()
    return [
        tuple(group)
        for group in groups.values()
        if len(group) >= (2 if group[0].date < yesterday else _FEWEST)
    ]


Count = Annotated[int, Field(ge=-(1 << 48), le=1 << 48)]
"""Bounded, so that sums of many fit into a row's number: the files of some are a script's."""


class Tally(Value):
    """What one writer has counted: what became of requests."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    """Of the writer's file."""
    service: UUID
    service_name: ServiceName
    answered: Count
    captured: Count
    sampled_out: Count
    dropped: Count


class Forgotten(Value):
    """What was deleted of the captured records of a service, at once."""

    requests: int
    """Those of which the records went."""
    rows: int
    """Of all records, what a script has collected included."""
    segments: int
    """Files that were written anew."""
    waiting: int
    """Segments that were still on their hosts at the last report: there may be more in them."""


class Account(Value):
    """What became of the requests to a service that were answered while capture was on.

    answered = captured + sampled out + dropped, once nothing is on its way.
    """

    service: str
    answered: int
    captured: int
    """Those of which there is a record here, or was one until it was deleted."""
    sampled_out: int
    """Those that were left out of the sample."""
    dropped: int
    """Those whose record was thrown away because there was no room."""
    doubled: int
    """Records beyond the first of the same answer."""
    forgotten: int = 0
    """Of the captured ones, those whose records were deleted by `forget`."""
    withheld: int = 0
    """Records without a body that a rule could not be applied to."""
    waiting: int
    """Segments that were still on their hosts at the last report; the rest is not final then."""
    as_of: datetime | None
    """When the last report came in."""
    missing: int
    """Records that should be here. Below 0: records of requests whose answer never left, because
    the gateway was killed."""

    @property
    def is_final(self) -> bool:
        """Everything has come in."""
        return self.waiting == 0

    @property
    def holds(self) -> bool:
        """Nothing is missing, and nothing is here twice."""
        return self.missing <= 0 and self.doubled == 0
