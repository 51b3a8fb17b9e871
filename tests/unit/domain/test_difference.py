from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.domain.difference import (
    NO_ANSWER,
    Answer,
    Difference,
    Kind,
    Tolerance,
    compare,
    is_repaired,
)

EXACT = Tolerance(absolute=0, relative=0)


def answer(value: Any, status: int = 200) -> Answer:
    return Answer(status, value if isinstance(value, bytes) else json.dumps(value).encode())


def between(first: Any, second: Any, tolerance: Tolerance | None = None) -> Difference | None:
    return compare(answer(first), answer(second), tolerance or Tolerance())


def found(first: Any, second: Any, tolerance: Tolerance | None = None) -> Difference:
    difference = between(first, second, tolerance)
    assert difference is not None
    return difference


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=10)
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(documents)
def test_an_answer_equals_itself_however_it_is_spelled(document: Any) -> None:
    spelled = json.dumps(document, sort_keys=True, indent=1).encode()
    assert between(document, spelled, EXACT) is None
    assert between(json.dumps(document), json.dumps(json.dumps(document)).encode(), EXACT) is None


@given(documents, documents)
def test_what_differs_differs_both_ways_and_is_told_in_short(first: Any, second: Any) -> None:
    one, other = between(first, second, EXACT), between(second, first, EXACT)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert (one.kind, one.places) == (other.kind, other.places)
        assert one.places >= 1
        assert max(len(one.path), len(one.before), len(one.after)) <= 200
        assert Difference.model_validate_json(one.model_dump_json()) == one


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.data())
def test_numbers_agree_within_the_tolerance_and_not_beyond(values: list[float], data: Any) -> None:
    at = data.draw(st.integers(0, len(values) - 1))
    allowed = 1e-5 + 1e-4 * abs(values[at])
    near, far = list(values), list(values)
    near[at] += 0.99 * allowed
    far[at] += 1.01 * allowed
    assert between(values, near) is None
    difference = found(values, far)
    assert (difference.kind, difference.path, difference.places) == (Kind.VALUES, f"[{at}]", 1)
    assert difference.size == pytest.approx(1.01, rel=1e-3)


class TestValues:
    def test_the_largest_of_several_is_shown(self) -> None:
        difference = found([{"p": 0.5}, {"p": 0.6}], [{"p": 0.51}, {"p": 0.1}])
        assert (difference.path, difference.before, difference.after) == ("[1].p", "0.6", "0.1")
        assert difference.places == 2

    def test_another_label_is_larger_than_any_number(self) -> None:
        difference = found({"n": 1, "label": "cat"}, {"n": 1e9, "label": "dog"})
        assert (difference.path, difference.size) == ("label", None)
        assert (difference.before, difference.after) == ('"cat"', '"dog"')

    def test_nan_is_nan_and_no_number(self) -> None:
        assert between([math.nan, math.inf], [math.nan, math.inf]) is None
        assert found([math.nan], [1.0]).kind is Kind.VALUES
        assert found([1.0], [math.inf]).size is None

    def test_numbers_too_large_for_floats_are_compared(self) -> None:
        huge = 10**400
        assert between(huge, huge) is None
        assert found(1, huge).after == "a very large number"

    def test_one_is_one_point_zero_and_not_true(self) -> None:
        assert between([1], [1.0], EXACT) is None
        assert found([1], [True]).kind is Kind.SHAPE


class TestShape:
    @pytest.mark.parametrize(
        ("first", "second", "path", "before", "after"),
        [
            ({"a": 1}, {"a": 1, "b": 2}, "b", "nothing", "2"),
            ({"a": 1, "b": 2}, {"a": 1}, "b", "2", "nothing"),
            ({"a": [1, 2]}, {"a": [1]}, "a", "2 values", "1 value"),
            ([1], [None], "[0]", "1", "null"),
            ([1], {"a": 1}, "", "[number]", "{a: number}"),
            ("[1]", [1], "", '"[1]"', "[number]"),
        ],
    )
    def test_what_breaks_a_schema(
        self, first: Any, second: Any, path: str, before: str, after: str
    ) -> None:
        difference = found(first, second)
        assert difference.kind is Kind.SHAPE
        assert (difference.path, difference.before, difference.after) == (path, before, after)

    def test_it_is_graver_than_values(self) -> None:
        assert found([1, 2, {"a": 1}], [5, 6, {"b": 1}]).kind is Kind.SHAPE

    def test_bytes_are_no_json(self) -> None:
        assert found([1], b"\xff\x00").after == "no JSON"
        assert found(b"\xff", b"\xfe\xfe").after == "2 bytes"


class TestStrings:
    def test_json_in_strings_is_read(self) -> None:
        assert between('{"a": 1, "b": 2}', '{"b": 2.0, "a": 1}') is None
        assert found('{"a": 1}', '{"a": 2}').path == "a"

    def test_other_strings_are_texts(self) -> None:
        assert found("setosa", "[1]").kind is Kind.VALUES


class TestStatus:
    def test_another_status_is_a_difference(self) -> None:
        difference = compare(answer([1]), answer("no", 500), Tolerance())
        assert difference is not None
        assert (difference.kind, difference.before, difference.after) == (
            Kind.STATUS,
            "200",
            "500",
        )

    def test_failures_may_say_what_they_like(self) -> None:
        assert compare(answer("a", 422), answer("b", 422), Tolerance()) is None
        assert compare(answer("a", 500), Answer(NO_ANSWER, b""), Tolerance()) is None
        assert compare(answer("a", 422), answer("b", 400), Tolerance()) is not None

    def test_repaired_is_what_the_server_had_failed(self) -> None:
        assert is_repaired(answer("a", 500), answer([1]))
        assert not is_repaired(answer("a", 422), answer([1]))
        assert not is_repaired(answer("a", 500), answer("a", 422))


def test_ignored_members_are_not_compared() -> None:
    tolerance = Tolerance(ignore=("took", "model.loaded"))
    first = {"took": 1, "rows": [{"took": 2, "model": {"loaded": "now"}}], "loaded": 1}
    second = {"rows": [{"took": 3, "model": {"loaded": "then"}}], "loaded": 1}
    assert between(first, second, tolerance) is None
    assert found(first, {**second, "loaded": 2}, tolerance).path == "loaded"


def test_documents_of_any_depth_are_compared() -> None:
    deep = b"[" * 900 + b"1" + b"]" * 900
    assert found(deep, deep.replace(b"1", b"2")).places == 1
    assert found(b"[" * 100_000 + b"]" * 100_000, [1]).kind is Kind.SHAPE
