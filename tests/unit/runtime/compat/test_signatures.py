"""What decorated and raw scripts get, from every protocol, and from bytes that mean no good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard_runtime import compat
from modelyard_runtime.compat.decorators import input_schema, output_schema
from modelyard_runtime.compat.numpy_type import NumpyParameterType
from modelyard_runtime.compat.pandas_type import PandasParameterType
from modelyard_runtime.compat.parameter_types import StandardPythonParameterType
from modelyard_runtime.compat.request import AMLRequest, rawhttp
from modelyard_runtime.compat.schema_files import DataTypes, SampleDefinition, generate_schema
from modelyard_runtime.http.server import Headers, HttpError, Request
from modelyard_runtime.signature import Signature, Table
from modelyard_runtime.tensors import Tensor, TensorSpec


def post(body: bytes, content_type: bytes = b"application/json") -> Request:
    return Request("POST", "/score", "", Headers([(b"content-type", content_type)]), body)


def signature_of(run: Any) -> Signature:
    signature = compat.signature_of(run)
    assert signature is not None
    return signature


@input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
@output_schema(NumpyParameterType(np.array([1.0])))
def rows(data: Any, factor: float = 1.0, request_headers: Any = None) -> Any:
    return data.sum(axis=1) * factor


class TestWhich:
    def test_plain_scripts_are_none_of_ours(self) -> None:
        assert compat.signature_of(lambda data: data) is None

    def test_raw_and_decorated_exclude_each_other(self) -> None:
        with pytest.raises(compat.Unservable, match="both `@rawhttp` and `@input_schema`"):
            compat.signature_of(rawhttp(input_schema("a", StandardPythonParameterType(1))(run_a)))


def run_a(a: Any) -> Any:
    return a


class TestDecorated:
    def test_headers_and_defaults_are_not_asked_for(self) -> None:
        arguments = signature_of(rows).from_request(post(b'{"data": [[1, 2]]}'))
        assert arguments == {"data": [[1, 2]], "factor": 1.0}

    def test_a_tensor_fills_the_parameter_of_its_name(self) -> None:
        tensor = Tensor("data", "FP64", (1, 2), [1.0, 2.0])
        arguments = signature_of(rows).from_tensors([tensor], {})
        assert rows(**arguments).tolist() == [3.0]

    def test_the_only_tensor_fills_the_only_parameter(self) -> None:
        run = input_schema("a", StandardPythonParameterType([1]))(run_a)
        tensor = Tensor("whatever", "INT64", (2,), [1, 2])
        assert signature_of(run).from_tensors([tensor], {}) == {"a": [1, 2]}

    def test_arrays_are_known_before_any_request(self) -> None:
        assert signature_of(rows).inputs == (TensorSpec("data", "FP64", (-1, 2)),)
        assert signature_of(input_schema("a", StandardPythonParameterType(1))(run_a)).inputs == ()

    def test_a_tensor_of_another_name_is_refused(self) -> None:
        tensor = Tensor("other", "FP64", (1,), [1.0])
        with pytest.raises(HttpError, match="'data' parameter"):
            signature_of(rows).from_tensors([tensor], {})

    @pytest.mark.parametrize("orient", ["records", "split", "index", "columns", "values", "table"])
    def test_a_table_comes_in_the_declared_orientation(self, orient: str) -> None:
        sample = pd.DataFrame({"x": [1.0], "y": [2.0]})
        kind = PandasParameterType(sample, orient=orient, enforce_column_type=False)
        run = input_schema("a", kind)(run_a)
        table = Table(("x", "y"), [[1.0, 2.0], [3.0, 4.0]])
        frame = run(**signature_of(run).from_table(table, {}))
        assert frame.to_numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]

    def test_a_table_without_names_is_rows(self) -> None:
        arguments = signature_of(rows).from_table(Table(None, [[1, 2], [3, 4]]), {"factor": 2})
        assert rows(**arguments).tolist() == [6.0, 14.0]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b'{"data": ' + b"[" * 100_000, "nested too deeply"),
            (b'{"data": ' + b"9" * 5000 + b"}", "too many digits"),
            (b'{"data": "\xff"}', "utf-8"),
            (b"null", "JSON dictionary"),
            (b"\0", "could not be decoded"),
        ],
    )
    def test_hostile_bodies_are_refused(self, body: bytes, message: str) -> None:
        with pytest.raises(HttpError, match=message) as refused:
            signature_of(rows).from_request(post(body))
        assert refused.value.status == 400

    def test_lone_surrogates_and_large_integers_are_read_as_python_reads_them(self) -> None:
        run = input_schema("a", StandardPythonParameterType("x"))(run_a)
        body = b'{"a": "\\ud800"}'
        assert signature_of(run).from_request(post(body)) == {"a": "\ud800"}


class TestRaw:
    def test_any_method_is_for_the_script(self) -> None:
        @rawhttp
        def run(request: AMLRequest, request_headers: Any = None) -> Any:
            return request.method

        signature = signature_of(run)
        assert signature.takes_options
        request = Request("OPTIONS", "/score", "", Headers([]), b"")
        assert run(**signature.from_request(request)) == "OPTIONS"

    def test_other_protocols_are_refused(self) -> None:
        signature = signature_of(rawhttp(lambda request: None))
        with pytest.raises(HttpError, match="at /score only"):
            signature.from_tensors([], {})
        with pytest.raises(HttpError, match="at /score only"):
            signature.from_table(Table(None, []), {})


def frame_and_more(table: Any, array: Any, count: Any = 3) -> Any:
    return table, array, count


class TestSchemaFiles:
    @pytest.fixture
    def signature(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signature:
        monkeypatch.chdir(tmp_path)
        inputs = {
            "table": SampleDefinition(DataTypes.PANDAS, pd.DataFrame({"x": [1], "n": ["a"]})),
            "array": SampleDefinition(DataTypes.NUMPY, np.array([[1, 2]], dtype="f4")),
            "count": SampleDefinition(DataTypes.STANDARD, 1),
        }
        outputs = {"sum": SampleDefinition(DataTypes.STANDARD, [1.0])}
        generate_schema(frame_and_more, inputs, outputs, "outputs/service_schema.json")
        return signature_of(frame_and_more)

    def test_values_are_converted(self, signature: Signature) -> None:
        body = {"table": [{"x": 5, "n": "b"}], "array": [[1, 2], [3, 4]], "count": 7}
        arguments = signature.from_request(post(json.dumps(body).encode(), b"text/plain"))
        assert arguments["table"].to_dict("list") == {"x": [5], "n": ["b"]}
        assert arguments["array"].dtype == np.float32
        assert arguments["count"] == 7

    def test_defaults_stay(self, signature: Signature) -> None:
        body = {"table": [{"x": 5, "n": "b"}], "array": [[1, 2]]}
        assert signature.from_request(post(json.dumps(body).encode()))["count"] == 3

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"array": [[1, 2, 3]]}, "deserialize array"),
            ({"table": 5}, "deserialize table"),
            ({"count": "x"}, "deserialize count"),
            ({"more": 1}, "Unexpected argument more"),
        ],
    )
    def test_what_does_not_fit_is_refused(
        self, signature: Signature, change: dict[str, Any], message: str
    ) -> None:
        body = {"table": [{"x": 5, "n": "b"}], "array": [[1, 2]]} | change
        with pytest.raises(HttpError, match=message) as refused:
            signature.from_request(post(json.dumps(body).encode()))
        assert refused.value.status == 400

    def test_it_describes_the_service(self, signature: Signature) -> None:
        assert signature.input_schema["example"]["count"] == 1
        assert signature.input_schema["properties"]["array"]["format"] == "numpy.ndarray"
        assert signature.output_schema["example"] == {"sum": [1.0]}

    def test_a_file_of_the_original_is_read_without_its_pickle(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        items = {"type": "array", "items": {"type": "number", "format": "double"}}
        swagger = {"type": "array", "items": items, "example": [[1.0, 2.0]]}
        part = {"internal": "not a pickle", "swagger": swagger, "type": 1, "version": "1.0.33"}
        (tmp_path / "service_schema.json").write_text(json.dumps({"input": {"a": part}}))
        arguments = signature_of(run_a).from_request(post(b'{"a": [[1, 2]]}'))
        assert arguments["a"].dtype == np.float64

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", '{"type": "object"}', '{"input": {"b": {"type": 1}}}']
    )
    def test_another_file_of_the_name_is_none(
        self, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "schema.json").write_text(content)
        assert compat.signature_of(run_a) is None

    def test_inputs_are_those_of_the_function(self) -> None:
        with pytest.raises(ValueError, match="parameters"):
            generate_schema(run_a, {"b": SampleDefinition(DataTypes.STANDARD, 1)})
