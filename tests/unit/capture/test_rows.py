from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.capture.cells import LONGEST_TEXT, Side
from modelyard.capture.rows import rows_of
from modelyard.domain.columns import MOST_COLUMNS, ColumnType, Declared

A, B = {"age": 1, "name": "x"}, {"age": 2, "name": "y"}
LISTS = [[1, 2], [3, 4]]
NUMBERED = [{"0": 1, "1": 2}, {"0": 3, "1": 4}]


def tensor(name: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP64", "shape": shape, "data": data}


class TestInputs:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"data": LISTS}, NUMBERED),
            ({"data": [A, B]}, [A, B]),
            (LISTS, NUMBERED),
            ([A, B], [A, B]),
            ({"columns": ["age", "name"], "data": [[1, "x"], [2, "y"]]}, [A, B]),
            ({"data": {"columns": ["age", "name"], "data": [[1, "x"], [2, "y"]]}}, [A, B]),
            ({"data": {"age": [1, 2], "name": ["x", "y"]}}, [A, B]),
            ({"Inputs": {"data": [A]}, "GlobalParameters": {"method": "predict"}}, [A]),
            ({"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}}, [{"a": 1}, {"a": 2}]),
            ({"dataframe_records": [A, B]}, [A, B]),
            ({"instances": LISTS}, NUMBERED),
            ({"instances": [A]}, [A]),
            ({"inputs": {"age": [1, 2], "name": ["x", "y"]}}, [A, B]),
            ({"inputs": LISTS}, NUMBERED),
            (A, [A]),
            ({"rows": LISTS}, NUMBERED),
            ({"data": [5, 6, 7]}, [{"0": 5, "1": 6, "2": 7}]),
            ('{"data": [[1, 2], [3, 4]]}', NUMBERED),
            ({"data": "[[1, 2], [3, 4]]"}, NUMBERED),
            ({"inputs": [tensor("x", [2, 2], [1, 2, 3, 4])]}, NUMBERED),
            ({"inputs": [tensor("x", [2, 2], LISTS)]}, NUMBERED),
            (
                {"inputs": [tensor("age", [2], [1, 2]), tensor("name", [2, 1], ["x", "y"])]},
                [A, B],
            ),
            (
                {"inputs": [tensor("a", [1, 2], [1, 2]), tensor("b", [1], [3])]},
                [{"a_0": 1, "a_1": 2, "b": 3}],
            ),
            ({"inputs": [tensor("x", [1 << 40, 0], [])]}, []),
            ({"inputs": [tensor("x", [3], [1, 2])]}, []),
            ([], []),
            ({}, [{}]),
            (7, [{"0": 7}]),
            ({"data": [list(range(MOST_COLUMNS + 1))]}, [{}]),
        ],
    )
    def test_of_every_protocol(self, body: Any, expected: Any) -> None:
        assert [inputs for inputs, _ in rows_of(body, None, Declared())] == expected

    def test_values_get_the_names_that_are_declared(self) -> None:
        declared = Declared(named={"age": ColumnType.BIGINT, "name": None})
        assert rows_of([[1, "x"]], None, declared) == [(A, {})]
        one = {"inputs": [tensor("x", [1, 2], [1, "x"])]}
        assert rows_of(one, None, declared) == [(A, {})]

    def test_a_list_of_values_is_one_row_unless_each_was_answered(self) -> None:
        assert rows_of([1, 2], [3], Declared()) == [({"0": 1, "1": 2}, {"": 3})]
        assert rows_of(["x", "y"], [3, 4], Declared()) == [
            ({"0": "x"}, {"": 3}),
            ({"0": "y"}, {"": 4}),
        ]


class TestOutputs:
    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ([5, 6], [{"": 5}, {"": 6}]),
            ("[5, 6]", [{"": 5}, {"": 6}]),
            ('"[5, 6]"', [{"": 5}, {"": 6}]),
            ({"predictions": [5, 6]}, [{"": 5}, {"": 6}]),
            ('{"result": [5, 6]}', [{"": 5}, {"": 6}]),
            ([[0.1, 0.9], [0.2, 0.8]], [{"0": 0.1, "1": 0.9}, {"0": 0.2, "1": 0.8}]),
            ([{"label": 1}, {"label": 2}], [{"label": 1}, {"label": 2}]),
            ({"label": [1, 2], "p": [3, 4]}, [{"label": 1, "p": 3}, {"label": 2, "p": 4}]),
            ({"outputs": [tensor("predict", [2], [5, 6])]}, [{"": 5}, {"": 6}]),
            (
                {"outputs": [tensor("label", [2], [5, 6]), tensor("p", [2, 2], [1, 2, 3, 4])]},
                [{"label": 5, "p_0": 1, "p_1": 2}, {"label": 6, "p_0": 3, "p_1": 4}],
            ),
            ([5], [{}, {}]),
            ({"message": "no"}, [{}, {}]),
            (None, [{}, {}]),
        ],
    )
    def test_of_two_rows(self, answer: Any, expected: Any) -> None:
        assert [outputs for _, outputs in rows_of(LISTS, answer, Declared())] == expected

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ([5], {"": 5}),
            (5, {"": 5}),
            ({"label": 1, "p": 0.5}, {"label": 1, "p": 0.5}),
            ([0.1, 0.9], {"0": 0.1, "1": 0.9}),
            ({"predictions": [5]}, {"": 5}),
        ],
    )
    def test_of_one_row(self, answer: Any, expected: Any) -> None:
        assert rows_of([[1]], answer, Declared()) == [({"0": 1}, expected)]

    def test_without_an_input_the_answer_tells_of_rows(self) -> None:
        assert rows_of(None, [5, 6], Declared()) == [({}, {"": 5}), ({}, {"": 6})]
        assert rows_of(None, None, Declared()) == []


class TestSide:
    def columns(self, declared: Declared, *rows: Any) -> tuple[list[Any], list[Any]]:
        side = Side("input", declared)
        kept = [side.keep(row) for row in rows]
        return kept, [(name, str(kind)) for _, name, kind in side.columns(len(rows))]

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ([True, False], "BOOLEAN"),
            ([1, None], "BIGINT"),
            ([1, 2.5], "DOUBLE"),
            ([1 << 70], "DOUBLE"),
            ([1, "x"], "VARCHAR"),
            ([True, 1], "VARCHAR"),
            (["2026-01-01"], "VARCHAR"),
            ([[1, 2]], "VARCHAR"),
        ],
    )
    def test_types_by_the_values(self, values: list[Any], kind: str) -> None:
        _, columns = self.columns(Declared(), *({"x": value} for value in values))
        assert columns == [("input:x", kind)]

    @pytest.mark.parametrize(
        ("declared", "value", "kept"),
        [
            ("BIGINT", 1, 1),
            ("BIGINT", "1", None),
            ("BIGINT", True, None),
            ("DOUBLE", 1, 1),
            ("BOOLEAN", 0, None),
            ("VARCHAR", "x", "x"),
            ("VARCHAR", 1, None),
            ("TIMESTAMPTZ", "1970-01-01T00:00:01Z", 1_000_000),
            ("TIMESTAMPTZ", "1970-01-01T00:00:01", 1_000_000),
            ("TIMESTAMPTZ", "9999-99-99", None),
        ],
    )
    def test_what_does_not_fit_is_no_cell(self, declared: str, value: Any, kept: Any) -> None:
        side = Side("input", Declared(named={"x": ColumnType(declared)}))
        assert side.keep({"x": value}) == ({} if kept is None else {"i0": kept})

    def test_an_integer_may_be_declared_too_narrowly(self) -> None:
        declared = Declared(named={"x": ColumnType.BIGINT})
        assert self.columns(declared, {"x": 1}, {"x": 1.5})[1] == [("input:x", "DOUBLE")]

    def test_other_names_where_all_are_declared(self) -> None:
        declared = Declared(named={"x": None}, closed=True)
        assert self.columns(declared, {"x": 1, "y": 2})[1] == [("input:x", "BIGINT")]

    def test_names_that_are_the_same_to_sql(self) -> None:
        _, columns = self.columns(Declared(), {"Age": 1, "age": 2, "age_2": 3, "a\n": 4})
        names = [name for name, _ in columns]
        assert names == ["input:Age", "input:age_2", "input:age_2_2", "input:a_"]

    def test_no_more_than_so_many_columns_and_the_fullest_stay(self) -> None:
        strays = [{f"s{n}": 1} for n in range(2 * MOST_COLUMNS)]
        _, columns = self.columns(Declared(), *strays, {"x": 1}, {"x": 2})
        assert len(columns) == MOST_COLUMNS
        assert ("input:x", "BIGINT") in columns

    def test_a_long_text_is_only_in_the_body(self) -> None:
        assert self.columns(Declared(), {"x": "a" * (LONGEST_TEXT + 1)}) == ([{}], [])


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(['{"data": [1]}', "[[1, 2]]", '"[1]"', "2026-01-02T03:04:05Z", "\x00"]),
)
NAMES = st.one_of(
    st.sampled_from(
        ["data", "Data", "columns", "inputs", "outputs", "name", "shape", "predictions", "", '"']
    ),
    st.text(max_size=6),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(NAMES, inner, max_size=4),
        st.fixed_dictionaries(
            {"name": st.text(max_size=3), "shape": st.lists(st.integers(-1, 4)), "data": inner}
        ),
    ),
    max_leaves=20,
)
SIDES = st.builds(
    Declared,
    named=st.dictionaries(NAMES, st.one_of(st.none(), st.sampled_from(list(ColumnType)))),
    unnamed=st.one_of(st.none(), st.sampled_from(list(ColumnType))),
    closed=st.booleans(),
)


def _is(value: Any, kind: ColumnType) -> bool:
    match kind:
        case ColumnType.BOOLEAN:
            return isinstance(value, bool)
        case ColumnType.BIGINT | ColumnType.TIMESTAMPTZ:
            return type(value) is int and value.bit_length() < 64
        case ColumnType.DOUBLE:
            return type(value) in (int, float)
        case ColumnType.VARCHAR:
            return True


class TestWhateverComes:
    @settings(max_examples=150, deadline=None)
    @given(body=JSON, answer=JSON, declared=SIDES)
    def test_cells_fit_their_columns(self, body: Any, answer: Any, declared: Declared) -> None:
        rows = rows_of(body, answer, declared)
        sides = Side("input", declared), Side("output", declared)
        lines = [{**sides[0].keep(inputs), **sides[1].keep(outputs)} for inputs, outputs in rows]
        columns = [one for side in sides for one in side.columns(len(rows))]
        assert {key for line in lines for key in line} == {key for key, _, _ in columns}
        names = [name.casefold() for _, name, _ in columns]
        assert len(set(names)) == len(names)
        for line in lines:
            orjson.dumps(line)
        for key, _, kind in columns:
            values = [line[key] for line in lines if key in line]
            assert all(_is(value, kind) for value in values)

    @settings(max_examples=100, deadline=None)
    @given(rows=st.lists(st.dictionaries(NAMES.filter(bool), SCALARS, min_size=1), min_size=1))
    def test_records_are_their_own_rows(self, rows: list[dict[str, Any]]) -> None:
        wrapped = rows_of({"dataframe_records": rows}, list(range(len(rows))), Declared())
        assert [inputs for inputs, _ in wrapped] == rows
        assert [outputs for _, outputs in wrapped] == [{"": n} for n in range(len(rows))]
