from __future__ import annotations

import numpy as np
import pytest
from bench._streams import rows, sketched
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import IntegrityError
from modelyard.monitoring.sketches import (
    FEW,
    MOST_FEATURES,
    MOST_VALUES,
    Numbers,
    Sketch,
    Values,
    merged,
    pack,
    unpack,
)

_NUMBERS = st.lists(st.floats(-1e6, 1e6), max_size=60)


@given(_NUMBERS, _NUMBERS)
def test_numbers_of_parts_are_those_of_the_whole(one: list[float], other: list[float]) -> None:
    whole, left, right = Numbers(), Numbers(), Numbers()
    whole.add(np.array(one + other))
    left.add(np.array(one))
    right.add(np.array(other))
    left.merge(right)
    assert left.count == whole.count
    assert left.counts == whole.counts or FEW in (len(left.counts or {}), len(whole.counts or {}))
    if whole.count:
        assert (left.least, left.most) == (whole.least, whole.most)
        assert left.mean == pytest.approx(np.mean(one + other), abs=1e-6)
        assert left.deviation == pytest.approx(np.std(one + other), abs=1e-4)


def test_ranks_are_as_exact_as_is_said_after_many_parts() -> None:
    columns = rows(np.random.default_rng(0), 50_000)
    numbers = sketched(columns, parts=100).features["age"].numbers
    ranks = np.searchsorted(np.sort(columns["age"]), np.linspace(-2, 2, 41)) / 50_000
    told = [numbers.quantiles.get_rank(at) for at in np.linspace(-2, 2, 41)]
    assert np.max(np.abs(ranks - told)) < 2 * numbers.quantiles.normalized_rank_error(False)


def test_packed_and_unpacked_it_is_the_same() -> None:
    sketch = sketched(rows(np.random.default_rng(1), 3000), parts=3)
    again = unpack(pack(sketch))
    assert pack(again) == pack(sketch)
    assert again.rows == 3000
    assert again.features["country"].values.counts == sketch.features["country"].values.counts


def test_any_damage_is_seen_before_the_library_reads_it() -> None:
    packed = bytearray(pack(sketched(rows(np.random.default_rng(2), 500))))
    for place in range(0, len(packed), 97):
        packed[place] ^= 1
        with pytest.raises(IntegrityError, match="damaged"):
            unpack(bytes(packed))
        packed[place] ^= 1
    for length in (0, 8, 9, len(packed) - 1):
        with pytest.raises(IntegrityError):
            unpack(bytes(packed[:length]))


def test_whatever_there_are_many_of_takes_no_more_room() -> None:
    values = Values()
    for part in range(50):
        values.add((f"{part}-{n}", 1) for n in range(1000))
        values.add([("often", 30)])
    assert len(values.counts) == MOST_VALUES
    assert values.counts["often"] == 1500
    assert values.count == 51_500
    values.add([("x" * 5000, 1_000_000)])
    assert max(map(len, values.counts)) == 100

    sketch = Sketch()
    assert all(sketch.feature(f"f{n}") for n in range(MOST_FEATURES))
    assert sketch.feature("one more") is None
    assert sketch.feature("f0") is not None


def test_a_feature_that_some_rows_do_not_have_is_missing_there() -> None:
    one, other = Sketch(), Sketch()
    one.rows, other.rows = 10, 30
    feature = one.feature("late")
    assert feature is not None
    feature.numbers.add(np.arange(10.0))
    whole = merged([pack(one), pack(other)])
    assert whole.rows == 40
    assert whole.features["late"].numbers.count == 10
