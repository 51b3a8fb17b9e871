"""Types declared by samples: what they convert, and how they are described."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard_runtime.compat.decorators import (
    get_input_schema,
    get_output_schema,
    get_supported_versions,
    input_schema,
    is_schema_decorated,
    output_schema,
)
from modelyard_runtime.compat.numpy_type import NumpyParameterType
from modelyard_runtime.compat.pandas_type import PandasParameterType
from modelyard_runtime.compat.parameter_types import (
    AbstractParameterType,
    StandardPythonParameterType,
    convert,
)


class TestStandard:
    @pytest.mark.parametrize(
        ("sample", "given", "made"),
        [
            (1.5, 2, 2),
            (b"", "aGk=", b"hi"),
            (bytearray(), "aGk=", bytearray(b"hi")),
            (datetime.date(2019, 1, 2), "2020-02-03", datetime.date(2020, 2, 3)),
            (
                datetime.time(1, 2),
                "04:05:06.000007 +0100",
                datetime.time(4, 5, 6, 7, datetime.timezone(datetime.timedelta(hours=1))),
            ),
        ],
    )
    def test_texts_become_what_they_stand_for(self, sample: Any, given: Any, made: Any) -> None:
        assert convert(given, StandardPythonParameterType(sample)) == made

    @pytest.mark.parametrize(
        ("sample", "given"), [(1, 1.5), ("a", 1), ([1], {"a": 1}), ({"a": 1}, [1]), (b"", 5)]
    )
    def test_another_type_is_refused(self, sample: Any, given: Any) -> None:
        with pytest.raises(ValueError, match="expected"):
            convert(given, StandardPythonParameterType(sample))

    def test_every_example_can_be_read_again(self) -> None:
        moment = datetime.datetime(2019, 1, 2, 3, 4, 5, 6, datetime.UTC)
        for sample in (moment, moment.date(), moment.timetz(), b"\0\1"):
            kind = StandardPythonParameterType(sample)
            assert convert(kind.input_to_swagger()["example"], kind) == sample

    def test_types_inside_are_converted(self) -> None:
        rows = StandardPythonParameterType([NumpyParameterType(np.array([1.0]))])
        kind = StandardPythonParameterType({"rows": rows, "plain": 1})
        made = convert({"rows": [[1], [2]], "plain": "kept", "more": 1}, kind)
        assert [type(row) for row in made["rows"]] == [np.ndarray, np.ndarray]
        assert (made["plain"], made["more"]) == ("kept", 1)

    def test_a_sample_is_needed_and_must_be_json(self) -> None:
        with pytest.raises(ValueError, match="not None"):
            StandardPythonParameterType(None).input_to_swagger()
        with pytest.raises(TypeError):
            StandardPythonParameterType(object()).input_to_swagger()


class TestNumpy:
    def test_an_array_is_taken_as_it_is(self) -> None:
        array = np.array([1])
        assert NumpyParameterType(np.zeros((1, 2))).deserialize_input(array) is array

    def test_durations_have_units(self) -> None:
        kind = NumpyParameterType(np.array([1], dtype="m8[s]"))
        made = kind.deserialize_input(["2 minutes", "3 SECONDS"])
        assert made.tolist() == [datetime.timedelta(minutes=2), datetime.timedelta(seconds=3)]
        with pytest.raises(ValueError, match="`<number> <unit>`"):
            kind.deserialize_input(["soon"])

    @pytest.mark.parametrize("given", [5, "text", {"a": 1}, None])
    def test_a_list_is_expected(self, given: Any) -> None:
        with pytest.raises(ValueError, match="list"):
            NumpyParameterType(np.zeros(1)).deserialize_input(given)

    def test_a_sample_is_an_array(self) -> None:
        with pytest.raises(TypeError, match="numpy array"):
            NumpyParameterType([1.0])

    def test_booleans_have_booleans_for_an_example(self) -> None:
        schema = NumpyParameterType(np.array([True])).input_to_swagger()
        assert schema == {
            "type": "array",
            "items": {"type": "boolean"},
            "example": [True],
            "format": "numpy.ndarray",
        }


class TestPandas:
    def test_names_can_be_given_by_position(self) -> None:
        with pytest.warns(DeprecationWarning, match="apply_column_names"):
            kind = PandasParameterType(
                pd.DataFrame({"a": [1.0], "b": [2.0]}), apply_column_names=True, orient="values"
            )
        assert list(kind.deserialize_input([[1, 2]]).columns) == ["a", "b"]

    def test_durations_are_read(self) -> None:
        kind = PandasParameterType(pd.DataFrame({"d": pd.to_timedelta(["1s"])}))
        assert kind.deserialize_input([{"d": "2s"}])["d"][0] == pd.Timedelta("2s")

    @pytest.mark.parametrize("orient", ["records", "split", "index", "columns", "values", "table"])
    def test_every_orientation_reads_its_own_example(self, orient: str) -> None:
        sample = pd.DataFrame({"a": [1.5], "when": pd.to_datetime(["2020-01-02T03:04:05"])})
        frame = sample if orient != "values" else sample[["a"]]
        kind = PandasParameterType(frame, orient=orient)
        schema = kind.input_to_swagger()
        assert schema["format"] == f"pandas.DataFrame:{orient}"
        assert kind.deserialize_input(schema["example"]).iloc[0, 0] == 1.5

    def test_orientation_and_sample_are_checked(self) -> None:
        with pytest.raises(ValueError, match="records, index"):
            PandasParameterType(pd.DataFrame(), orient="rows")
        with pytest.raises(TypeError, match="DataFrame"):
            PandasParameterType([1])


class TestDecorators:
    def test_a_call_by_position_converts_too(self) -> None:
        @input_schema("b", NumpyParameterType(np.array([1.0])))
        @input_schema("a", StandardPythonParameterType(1))
        def run(a: int, b: Any) -> Any:
            return a, type(b)

        assert run(1, [2]) == run(1, b=[2]) == run(a=1, b=[2]) == (1, np.ndarray)
        with pytest.raises(TypeError, match="`b` is missing"):
            run(1)

    def test_another_decorator_in_between_stays(self) -> None:
        calls = []

        def counted(run: Any) -> Any:
            def counting(*given: Any, **named: Any) -> Any:
                calls.append(named)
                return run(*given, **named)

            counting.__wrapped__ = run  # type: ignore[attr-defined]
            counting.__dict__.update(run.__dict__)
            return counting

        @input_schema("a", StandardPythonParameterType(1))
        @counted
        @output_schema(StandardPythonParameterType([1]))
        def run(a: int) -> list[int]:
            return [a]

        assert run(a=1) == [1]
        assert calls == [{"a": 1}]
        assert get_input_schema(run)["example"] == {"a": 1}
        assert get_output_schema(run)["example"] == [1]

    def test_the_outermost_decorator_says_the_versions(self) -> None:
        mixed, uniform = StandardPythonParameterType([1, "a"]), StandardPythonParameterType([1])

        @input_schema("a", uniform)
        @input_schema("b", mixed)
        def good(a: Any, b: Any) -> None: ...

        @input_schema("a", mixed)
        @input_schema("b", uniform)
        def bad(a: Any, b: Any) -> None: ...

        assert get_supported_versions(good) == ["2.0", "3.0", "3.1"]
        assert get_supported_versions(bad) == ["3.0", "3.1"]

    def test_what_is_wrong_is_told_at_once(self) -> None:
        kind = StandardPythonParameterType(1)
        with pytest.raises(TypeError, match="parameter type"):
            input_schema("a", 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no parameter `b`"):
            input_schema("b", kind)(lambda a: a)
        with pytest.raises(ValueError, match="already"):
            output_schema(kind)(output_schema(kind)(lambda a: a))

    def test_an_undecorated_function_says_nothing(self) -> None:
        assert not is_schema_decorated(len)
        assert get_input_schema(len) == get_output_schema(len) == {"type": "object"}

    def test_a_type_of_the_scripts_own_is_used(self) -> None:
        class Doubled(AbstractParameterType):
            def deserialize_input(self, input_data: Any) -> Any:
                return float(input_data) * 2

            def input_to_swagger(self) -> dict[str, Any]:
                return {"type": "string", "example": "1"}

        @input_schema("a", Doubled(1.0))
        def run(a: float) -> float:
            return a

        assert run(a="2") == 4.0
        assert get_input_schema(run)["properties"] == {"a": {"type": "string"}}
