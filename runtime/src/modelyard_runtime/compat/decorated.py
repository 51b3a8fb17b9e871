"""The signature of a `run` with `@input_schema`: its parameters by name, from a JSON object.

Values are converted by the decorators, when `run` is called: what does not fit its sample fails
there, as it always did. The decorators may be ours or those of an installed inference-schema.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from modelyard_runtime.compat import SCHEMAS, decorators
from modelyard_runtime.compat.request import is_json, split_content_type
from modelyard_runtime.http.messages import HttpError, Request
from modelyard_runtime.request_headers import PARAMETER
from modelyard_runtime.signature import Arguments, JsonSchema, Table
from modelyard_runtime.signatures.answers import AnySignature
from modelyard_runtime.signatures.bodies import body_of
from modelyard_runtime.tensors import Tensor, TensorSpec

_PLAIN_JSON = b"application/json"
_TABLE = "pandas.DataFrame:"
_ARRAY = "numpy.ndarray"
_DATATYPES = {
    **{
        ("integer", f"{sign}int{bits}"): f"{sign}int{bits}".upper()
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
    ("number", "float"): "FP32",
    ("number", "double"): "FP64",
    ("boolean", ""): "BOOL",
    ("string", ""): "BYTES",
}
"""Of the Open Inference Protocol, by type and format of an array's items."""
_REAL = "inference_schema.schema_util"


class NamedSignature(AnySignature):
    """Every parameter of `run` is a key of the body, or of the query of a `GET`."""

    def __init__(self, run: Callable[..., Any], given: JsonSchema, answered: JsonSchema) -> None:
        parameters = inspect.signature(run).parameters
        self._defaults = {name: p.default for name, p in parameters.items() if name != PARAMETER}
        self.input_schema = given
        self.output_schema = answered
        self._properties = given.get("properties", {})
        self.inputs = tuple(self._specs())

    def from_request(self, request: Request) -> Arguments:
        """The values of the parameters; keys that are no parameter are not looked at."""
        if request.method == "POST" and not _says_json(request):
            raise HttpError(415, "Expects Content-Type to be application/json")
        return self._arguments(read_object(body_of(request)))

    def from_tensors(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Arguments:
        """Tensors by the names of parameters; the only one also for the only parameter."""
        if len(tensors) == 1 and len(self._defaults) == 1:
            return {name: tensors[0].json_values() for name in self._defaults}
        return self._arguments({tensor.name: tensor.json_values() for tensor in tensors})

    def from_table(self, table: Table, parameters: Mapping[str, Any]) -> Arguments:
        """The table for the first parameter, in the orientation that its schema tells."""
        name = next(iter(self._defaults))
        orient = str(self._properties.get(name, {}).get("format", "")).removeprefix(_TABLE)
        value = _oriented(table, orient)
        if orient == "table":  # which repeats its own schema, as the sample shows it
            value = {"schema": self.input_schema["example"][name]["schema"], "data": value}
        return self._arguments({name: value, **parameters})

    def _specs(self) -> Iterator[TensorSpec]:
        """The parameters that are arrays, by what their samples show."""
        for name, schema in self._properties.items():
            if name in self._defaults and schema.get("format") == _ARRAY:
                shape, items = _shape_of(self.input_schema["example"][name]), schema
                while items["type"] == "array":
                    items = items["items"]
                datatype = _DATATYPES.get((items["type"], items.get("format", "")))
                if datatype is not None:
                    yield TensorSpec(name, datatype, (-1, *shape[1:]))

    def _arguments(self, values: Mapping[str, Any]) -> Arguments:
        arguments = {name: values.get(name, default) for name, default in self._defaults.items()}
        for name, value in arguments.items():
            if value is inspect.Parameter.empty:
                raise HttpError(400, f"A value is not provided for the {name!r} parameter.")
        return arguments


class DecoratedSignature(NamedSignature):
    """The parameters of a `run` whose decorators convert them when it is called."""

    def __init__(self, run: Callable[..., Any]) -> None:
        schemas = decorators if hasattr(run, SCHEMAS) else sys.modules[_REAL]
        super().__init__(run, schemas.get_input_schema(run), schemas.get_output_schema(run))
        self.versions = tuple(schemas.get_supported_versions(run))


def read_object(body: bytes) -> dict[str, Any]:
    """A body as a JSON object. What JSON forbids and Python reads, such as NaN, is read.

    Raises:
        HttpError: 400, it is none.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _read_leniently(body)
    if not isinstance(value, dict):
        raise HttpError(400, "POST body should be a JSON dictionary.")
    return value


def _read_leniently(body: bytes) -> Any:
    if not body:
        raise HttpError(400, "POST body is empty. Expecting a JSON dictionary.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, f"POST body could not be decoded as JSON: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return str(error)
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "a number has too many digits"


def _says_json(request: Request) -> bool:
    value = request.headers.get(b"content-type", b"")
    return value == _PLAIN_JSON or is_json(split_content_type(value.decode("latin-1"))[0])


def _shape_of(example: Any) -> tuple[int, ...]:
    """The lengths of lists in lists."""
    shape: tuple[int, ...] = ()
    while isinstance(example, list) and example:
        shape = (*shape, len(example))
        example = example[0]
    return shape


def _oriented(table: Table, orient: str) -> Any:
    """A table as the JSON that pandas writes in an orientation; plain rows for any other."""
    if table.columns is None:
        return table.rows
    columns = table.columns
    rows = [dict(zip(columns, row, strict=True)) for row in table.rows]
    if orient == "records":
        return rows
    if orient == "split":
        return {"columns": list(columns), "index": list(range(len(rows))), "data": table.rows}
    if orient == "index":
        return {str(at): row for at, row in enumerate(rows)}
    if orient == "columns":
        return {name: {str(at): row[name] for at, row in enumerate(rows)} for name in columns}
    if orient == "table":
        return [{"index": at, **row} for at, row in enumerate(rows)]
    return table.rows
