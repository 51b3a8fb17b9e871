"""How two answers to the same request differ. Pure.

Answers that are JSON are compared as JSON: the order of keys means nothing, numbers agree within a
tolerance, and a string that holds JSON, as scoring scripts of Azure ML return it, is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import Field

from modelyard.domain.answers import shape_of
from modelyard.domain.service import FieldPath
from modelyard.domain.values import Spec, Value

NO_ANSWER = 0
"""Status of a request whose connection broke, or that was not answered in time."""
_LONGEST = 200
"""Characters that are shown of a value."""
_FAILED, _REFUSED = 500, 400
_ABSENT = "nothing"


class Kind(StrEnum):
    """In what two answers differ, the gravest first."""

    STATUS = "status"
    """One is a failure, or another one."""
    SHAPE = "shape"
    """A member is missing or new, a list is longer or shorter, a value is of another type."""
    VALUES = "values"
    """Numbers beyond the tolerance, or other texts."""


_GRAVITY = list(Kind)


class Tolerance(Spec):
    """What counts as the same."""

    absolute: float = Field(1e-5, ge=0, allow_inf_nan=False)
    """Two numbers agree when they differ by no more than this…"""
    relative: float = Field(1e-4, ge=0, allow_inf_nan=False)
    """…and this many times the first one's size."""
    ignore: tuple[FieldPath, ...] = Field((), max_length=20)
    """Members that are not compared, wherever they are: `took`, or `model.loaded`."""


class Answer(NamedTuple):
    """A status and a body."""

    status: int
    body: bytes

    @property
    def failed(self) -> bool:
        """The server is to blame, or there was no answer at all."""
        return self.status >= _FAILED or self.status == NO_ANSWER

    @property
    def succeeded(self) -> bool:
        """Neither failed nor refused."""
        return NO_ANSWER < self.status < _REFUSED


class Difference(Value):
    """How the second of two answers differs from the first."""

    kind: Kind
    """The gravest."""
    path: str
    """Where the largest difference is, `[3].score`; empty: in the whole."""
    before: str
    """What is there in the first answer, cut off where it is long."""
    after: str
    size: float | None
    """How many times as much as is allowed a number differs; null where it is none."""
    places: int
    """Values that differ."""

    @property
    def apart(self) -> float | None:
        """How far apart two numbers are, as they are shown; None where there are none."""
        try:
            return None if self.size is None else abs(float(self.after) - float(self.before))
        except ValueError:  # too long to be shown whole
            return None

    @property
    def rank(self) -> tuple[int, float]:
        """The larger the difference, the smaller."""
        return _rank(self.kind, self.size)


def compare(first: Answer, second: Answer, tolerance: Tolerance) -> Difference | None:
    """How two answers differ; None: they do not.

    Of failures only the status is compared, and all of the server's are the same: what they say is
    for people.
    """
    if first.failed and second.failed:
        return None
    if first.status != second.status:
        return _difference(Kind.STATUS, "", _status(first), _status(second))
    if first.body == second.body or first.status >= _REFUSED:
        return None
    documents = [_read(answer.body) for answer in (first, second)]
    if documents[0] is None and documents[1] is None:
        return _difference(Kind.VALUES, "", _bytes(first.body), _bytes(second.body))
    if documents[0] is None or documents[1] is None:
        kinds = ("no JSON" if document is None else "JSON" for document in documents)
        return _difference(Kind.SHAPE, "", *kinds)
    return _largest(_differences(*_unwrapped(documents[0].value, documents[1].value), tolerance))


def is_repaired(first: Answer, second: Answer) -> bool:
    """Whether a request that the server failed is answered now."""
    return first.failed and not second.failed and second.status < _REFUSED


def excerpt(value: Any) -> str:
    """A value as it is shown: short JSON, else its shape."""
    if isinstance(value, dict | list):
        return shape_of(value)[:_LONGEST]
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write it out
        return "a very large number"
    return json.dumps(value, ensure_ascii=False)[:_LONGEST]


class _Document(NamedTuple):
    value: Any


def _read(body: bytes) -> _Document | None:
    """A body as JSON, NaN and infinities included."""
    try:
        return _Document(json.loads(body))
    except (ValueError, RecursionError):
        return None


def _unwrapped(first: Any, second: Any) -> tuple[Any, Any]:
    """What two strings hold where both hold JSON."""
    if isinstance(first, str) and isinstance(second, str):
        inner = [_read(text.encode(errors="replace")) for text in (first, second)]
        if inner[0] is not None and inner[1] is not None:
            return inner[0].value, inner[1].value
    return first, second


class _Place(NamedTuple):
    """Where in a document."""

    above: _Place | None
    key: str | int

    def steps(self) -> list[str | int]:
        place: _Place | None = self
        steps: list[str | int] = []
        while place is not None:
            steps.append(place.key)
            place = place.above
        return steps[::-1]


class _Found(NamedTuple):
    kind: Kind
    place: _Place | None
    before: Any
    after: Any
    size: float | None


_NOTHING = object()


def _differences(first: Any, second: Any, tolerance: Tolerance) -> Iterator[_Found]:
    """Every difference, in the order of the documents. Without recursion: documents are deep."""
    waiting: list[tuple[_Place | None, Any, Any]] = [(None, first, second)]
    while waiting:
        place, a, b = waiting.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            waiting += reversed([*_members(place, a, b, tolerance.ignore)])
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                yield _Found(Kind.SHAPE, place, _length(a), _length(b), None)
            waiting += reversed([*_items(place, a, b)])
        elif (found := _value_difference(place, a, b, tolerance)) is not None:
            yield found


def _members(
    place: _Place | None, a: dict[str, Any], b: dict[str, Any], ignore: Sequence[str]
) -> Iterator[tuple[_Place, Any, Any]]:
    for key in [*a, *(key for key in b if key not in a)]:
        inner = _Place(place, key)
        if not (ignore and _is_ignored(inner, ignore)):
            yield inner, a.get(key, _NOTHING), b.get(key, _NOTHING)


def _items(place: _Place | None, a: list[Any], b: list[Any]) -> Iterator[tuple[_Place, Any, Any]]:
    for at, (one, other) in enumerate(zip(a, b, strict=False)):
        yield _Place(place, at), one, other


def _is_ignored(place: _Place, ignore: Sequence[str]) -> bool:
    path = ".".join(step for step in place.steps() if isinstance(step, str))
    return any(path == field or path.endswith(f".{field}") for field in ignore)


def _value_difference(place: _Place | None, a: Any, b: Any, tolerance: Tolerance) -> _Found | None:
    kind = _type(a)
    if kind != _type(b):
        return _Found(Kind.SHAPE, place, a, b, None)
    if kind != "number":
        return None if a == b else _Found(Kind.VALUES, place, a, b, None)
    size = _excess(a, b, tolerance)
    if size is not None and size <= 1:
        return None
    return _Found(Kind.VALUES, place, a, b, size)


def _type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case dict():
            return "object"
        case list() | str() | None:
            return type(value).__name__
    return _ABSENT


def _excess(a: float, b: float, tolerance: Tolerance) -> float | None:
    """How many times as much as is allowed two numbers differ; None: beyond all measure."""
    if a == b or (a != a and b != b):
        return 0.0
    try:
        apart = abs(float(a) - float(b))
        allowed = tolerance.absolute + tolerance.relative * abs(float(a))
        size = apart / allowed if allowed else math.inf
    except OverflowError:
        return None
    return size if math.isfinite(size) and math.isfinite(allowed) else None


def _largest(found: Iterator[_Found]) -> Difference | None:
    largest: _Found | None = None
    places = 0
    for one in found:
        places += 1
        if largest is None or _rank(one.kind, one.size) < _rank(largest.kind, largest.size):
            largest = one
    if largest is None:
        return None
    return Difference(
        kind=largest.kind,
        path=_path(largest.place),
        before=_shown(largest.before),
        after=_shown(largest.after),
        size=largest.size,
        places=places,
    )


def _rank(kind: Kind, size: float | None) -> tuple[int, float]:
    return _GRAVITY.index(kind), -math.inf if size is None else -size


def _path(place: _Place | None) -> str:
    text = ""
    for step in place.steps() if place else ():
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text[:_LONGEST]


class _Length(NamedTuple):
    number: int


def _length(values: list[Any]) -> _Length:
    return _Length(len(values))


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return _ABSENT
    if isinstance(value, _Length):
        return f"{value.number} value{'' if value.number == 1 else 's'}"
    return excerpt(value)


def _difference(kind: Kind, path: str, before: str, after: str) -> Difference:
    return Difference(kind=kind, path=path, before=before, after=after, size=None, places=1)


def _status(answer: Answer) -> str:
    return str(answer.status) if answer.status else "no answer"


def _bytes(body: bytes) -> str:
    return f"{len(body)} bytes"
