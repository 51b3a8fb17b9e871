"""What is kept of rows to compare them later: a few kilobytes for each feature of any number.

Sketches of parts merge to the sketch of the whole. Counts, missing values, least, greatest, mean
and deviation are exact; quantiles are those of a KLL sketch; values that are told apart by name are
counted, the `MOST_VALUES` most frequent ones of each part.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from math import inf, sqrt

import numpy as np
from datasketches import kll_doubles_sketch
from msgspec import DecodeError, Struct, field
from msgspec.msgpack import Decoder, encode

from modelyard.errors import IntegrityError

K = 200
"""Size of a KLL sketch: 5 KB, and ranks are off by less than 1.33 % in 99 of 100 sketches."""
FEW = 32
"""Numbers with so many different values, or fewer, are counted one by one, too."""
MOST_VALUES = 256
"""Values of one feature that are counted by name; the rarest beyond that count as others."""
LONGEST_VALUE = 100
"""Characters by which values are told apart."""
MOST_FEATURES = 500
CONCEALED = "enc:"
"""Stands for every encrypted value: two of the same are never equal."""
_MAGIC = b"MYSK1"
_LOOK = 1000


class Numbers:
    """What is kept of finite numbers."""

    __slots__ = ("count", "counts", "least", "mean", "most", "quantiles", "spread")

    def __init__(self) -> None:
        self.count = 0
        self.least = inf
        self.most = -inf
        self.mean = 0.0
        self.spread = 0.0
        """Sum of squared distances from the mean."""
        self.counts: dict[float, int] | None = {}
        """How often there was each value; None once there were more than `FEW`."""
        self.quantiles = kll_doubles_sketch(K)

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return sqrt(self.spread / self.count) if self.count else 0.0

    def add(self, numbers: np.ndarray) -> None:
        """Take in finite numbers: an array of float64 of one dimension."""
        if not len(numbers):
            return
        mean = float(numbers.mean())
        self._add_moments(len(numbers), mean, float(np.square(numbers - mean).sum()))
        self.least = min(self.least, float(numbers.min()))
        self.most = max(self.most, float(numbers.max()))
        self.quantiles.update(np.ascontiguousarray(numbers, dtype=np.float64))
        self._add_counts(_few(numbers))

    def merge(self, other: Numbers) -> None:
        """Take in what is kept of others."""
        if not other.count:
            return
        self._add_moments(other.count, other.mean, other.spread)
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)
        self.quantiles.merge(other.quantiles)
        self._add_counts(other.counts)

    def _add_moments(self, count: int, mean: float, spread: float) -> None:
        both = self.count + count
        apart = mean - self.mean
        self.mean += apart * count / both
        self.spread += spread + apart * apart * self.count * count / both
        self.count = both

    def _add_counts(self, counts: Mapping[float, int] | None) -> None:
        if self.counts is None or counts is None:
            self.counts = None
            return
        for value, count in counts.items():
            self.counts[value] = self.counts.get(value, 0) + count
        if len(self.counts) > FEW:
            self.counts = None


class Values:
    """What is kept of values that have names: words, and what is true or false."""

    __slots__ = ("counts", "others")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.others = 0
        """Values that are not in `counts`; 0: all are."""

    @property
    def count(self) -> int:
        """All values."""
        return sum(self.counts.values()) + self.others

    @property
    def is_encrypted(self) -> bool:
        """Whether most of them are: one that a caller made up to look so hides no column."""
        return 2 * self.counts.get(CONCEALED, 0) > self.count

    @property
    def is_identifier(self) -> bool:
        """Whether a value is there less than twice on average.

        If not all have names, it is the average of the most frequent ones.
        """
        return sum(self.counts.values()) < 2 * len(self.counts)

    def add(self, counts: Iterable[tuple[str, int]], others: int = 0) -> None:
        """Take in values, with how often each was there."""
        for value, count in counts:
            name = value[:LONGEST_VALUE]
            self.counts[name] = self.counts.get(name, 0) + count
        self.others += others
        if len(self.counts) > MOST_VALUES:
            ranked = sorted(self.counts.items(), key=lambda one: (-one[1], one[0]))
            self.counts = dict(ranked[:MOST_VALUES])
            self.others += sum(count for _, count in ranked[MOST_VALUES:])

    def merge(self, other: Values) -> None:
        """Take in what is kept of others."""
        self.add(other.counts.items(), other.others)


class Feature:
    """One column: its numbers, and its values that are none."""

    __slots__ = ("numbers", "spelled", "values")

    def __init__(self) -> None:
        self.numbers = Numbers()
        self.values = Values()
        self.spelled = Numbers()
        """Those of `values` that are texts of JSON numbers: one text makes all of a file texts."""

    @property
    def all_numbers(self) -> Numbers:
        """Numbers, and those that texts spell."""
        if not self.spelled.count:
            return self.numbers
        both = Numbers()
        both.merge(self.numbers)
        both.merge(self.spelled)
        return both

    def merge(self, other: Feature) -> None:
        """Take in what is kept of other rows."""
        self.numbers.merge(other.numbers)
        self.values.merge(other.values)
        self.spelled.merge(other.spelled)


class Sketch:
    """What is kept of rows.

    A feature that only some rows have is missing in the others.
    """

    __slots__ = ("features", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.features: dict[str, Feature] = {}

    def feature(self, name: str) -> Feature | None:
        """A feature to add to; None: there are too many already."""
        if name not in self.features and len(self.features) >= MOST_FEATURES:
            return None
        return self.features.setdefault(name, Feature())

    def merge(self, other: Sketch) -> None:
        """Take in what is kept of other rows."""
        self.rows += other.rows
        for name, one in other.features.items():
            own = self.feature(name)
            if own is not None:
                own.merge(one)


def merged(sketches: Iterable[bytes]) -> Sketch:
    """One sketch of all rows of several.

    Raises:
        IntegrityError: One is damaged.
    """
    whole = Sketch()
    for one in sketches:
        whole.merge(unpack(one))
    return whole


class _Numbers(Struct, array_like=True):
    count: int
    least: float
    most: float
    mean: float
    spread: float
    counts: dict[float, int] | None
    quantiles: bytes


class _Feature(Struct, array_like=True, omit_defaults=True):
    count: int = 0
    least: float = 0.0
    most: float = 0.0
    mean: float = 0.0
    spread: float = 0.0
    counts: dict[float, int] | None = None
    quantiles: bytes = b""
    values: dict[str, int] = field(default_factory=dict)
    others: int = 0
    spelled: _Numbers | None = None


class _Sketch(Struct, array_like=True):
    rows: int
    features: dict[str, _Feature]


_DECODER = Decoder(_Sketch)


def pack(sketch: Sketch) -> bytes:
    """A sketch as bytes, with a checksum."""
    packed = {name: _packed(one) for name, one in sketch.features.items()}
    content = encode(_Sketch(sketch.rows, packed))
    return _MAGIC + zlib.crc32(content).to_bytes(4, "big") + content


def unpack(packed: bytes) -> Sketch:
    """The sketch in bytes that `pack` has made.

    Only of our own making: the library believes what it reads, so the checksum is compared first.

    Raises:
        IntegrityError: They are damaged.
    """
    head, content = packed[: len(_MAGIC) + 4], packed[len(_MAGIC) + 4 :]
    if head != _MAGIC + zlib.crc32(content).to_bytes(4, "big"):
        raise _damaged("its checksum is another")
    try:
        told = _DECODER.decode(content)
    except DecodeError as error:
        raise _damaged(str(error)) from error
    sketch = Sketch()
    sketch.rows = told.rows
    sketch.features = {name: _unpacked(one) for name, one in told.features.items()}
    return sketch


def _packed(feature: Feature) -> _Feature:
    values = feature.values
    told = _Feature(values=values.counts, others=values.others)
    if feature.numbers.count:
        told = _Feature(*_told(feature.numbers), values.counts, values.others)
    if feature.spelled.count:
        told.spelled = _Numbers(*_told(feature.spelled))
    return told


_Told = tuple[int, float, float, float, float, dict[float, int] | None, bytes]


def _told(numbers: Numbers) -> _Told:
    moments = numbers.count, numbers.least, numbers.most, numbers.mean, numbers.spread
    return *moments, numbers.counts, numbers.quantiles.serialize()


def _unpacked(told: _Feature) -> Feature:
    feature = Feature()
    if told.count:
        _fill(feature.numbers, told)
    feature.values.counts, feature.values.others = told.values, told.others
    if told.spelled is not None:
        _fill(feature.spelled, told.spelled)
    return feature


def _fill(numbers: Numbers, told: _Feature | _Numbers) -> None:
    numbers.count, numbers.least, numbers.most = told.count, told.least, told.most
    numbers.mean, numbers.spread, numbers.counts = told.mean, told.spread, told.counts
    numbers.quantiles = kll_doubles_sketch.deserialize(told.quantiles)


def _few(numbers: np.ndarray) -> dict[float, int] | None:
    """How often there is each number; None: too many different ones."""
    if len(np.unique(numbers[:_LOOK])) > FEW:
        return None
    found, counts = np.unique(numbers, return_counts=True)
    if len(found) > FEW:
        return None
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _damaged(why: str) -> IntegrityError:
    return IntegrityError(
        f"a sketch of captured rows is damaged: {why}",
        hint="see to the disk of the server's database",
    )
