"""Schema files of 2018: made by `generate_schema`, and read where one lies beside a script.

A `run` without decorators then gets its parameters by name, converted as the file says. Files of
the original also hold a pickle of each type, which is never loaded: the description says the same.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from modelyard_runtime.compat import SCHEMA_FILES
from modelyard_runtime.compat.decorated import NamedSignature, read_object
from modelyard_runtime.compat.descriptions import Schema, describe
from modelyard_runtime.compat.parameter_types import (
    AbstractParameterType,
    StandardPythonParameterType,
    convert,
)
from modelyard_runtime.http.messages import HttpError, Request
from modelyard_runtime.signature import Arguments
from modelyard_runtime.signatures.bodies import body_of

_VERSION = "1.0"
_LONGEST_MESSAGE = 200
_STANDARD_SAMPLES: dict[str, Any] = {"integer": 0, "number": 0.0, "boolean": False, "string": ""}


class DataTypes:
    """Kinds of values."""

    STANDARD = 0
    NUMPY = 1
    SPARK = 2
    PANDAS = 3


class SampleDefinition:
    """A sample of a parameter or of a result, and its kind."""

    def __init__(self, input_type: int, sample_data: Any) -> None:
        if input_type == DataTypes.NUMPY:
            swagger = _numpy(sample_data).input_to_swagger()
        elif input_type == DataTypes.PANDAS:
            swagger = _pandas(sample_data).input_to_swagger()
        elif input_type == DataTypes.STANDARD:
            swagger = describe(sample_data)
        else:
            raise ValueError("a sample is of DataTypes.STANDARD, NUMPY or PANDAS")
        self.type = input_type
        self.swagger = swagger

    def serialize(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {"type": self.type, "swagger": self.swagger, "version": _VERSION}


def generate_schema(
    run_func: Callable[..., Any],
    inputs: Mapping[str, SampleDefinition] | None = None,
    outputs: Mapping[str, SampleDefinition] | None = None,
    filepath: str | None = None,
) -> dict[str, Any]:
    """Describe the parameters and the result of a `run`, in a file if one is named.

    Raises:
        ValueError: The inputs are not the parameters of the function.
    """
    parameters = set(inspect.signature(run_func).parameters) - {"request_headers"}
    if parameters != set(inputs or ()) - {"request_headers"}:
        raise ValueError("the inputs of a schema are those of the function's parameters")
    given = {"input": inputs, "output": outputs}
    schema = {
        side: {name: sample.serialize() for name, sample in samples.items()}
        for side, samples in given.items()
        if samples is not None
    }
    if filepath is not None:
        os.makedirs(os.path.dirname(filepath) or ".", exist_ok=True)
        with open(filepath, "w", encoding="utf-8") as file:
            json.dump(schema, file)
    return schema


class FileSignature(NamedSignature):
    """Parameters by name, converted before `run` is called: what does not fit is answered 400."""

    def __init__(self, run: Callable[..., Any], schema: dict[str, Any]) -> None:
        inputs = schema["input"]
        super().__init__(run, _object(inputs), _object(schema.get("output", {})))
        self._kinds = {name: _kind(part) for name, part in inputs.items()}

    def from_request(self, request: Request) -> Arguments:
        """The values of the parameters; there must be no other key."""
        values = read_object(body_of(request))
        for name in values:
            if name not in self._kinds:
                raise HttpError(400, f"Argument mismatch: Unexpected argument {name[:100]}")
        return self._arguments(values)

    def _arguments(self, values: Mapping[str, Any]) -> Arguments:
        arguments = super()._arguments(values)
        for name in arguments.keys() & values.keys():
            arguments[name] = _converted(name, arguments[name], self._kinds[name])
        return arguments


def signature_beside(run: Callable[..., Any]) -> FileSignature | None:
    """The signature that a schema file in the working directory gives to a `run`, if one does."""
    parameters = inspect.signature(run).parameters
    for path in SCHEMA_FILES:
        schema = _read(path)
        if schema is not None and schema["input"].keys() <= parameters.keys():
            return FileSignature(run, schema)
    return None


def _read(path: str) -> dict[str, Any] | None:
    """A schema file; None for a file that is something else, or is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            schema = json.load(file)
        parts = [part for side in schema.values() for part in side.values()]
    except (OSError, ValueError, AttributeError):
        return None
    known = all(isinstance(part, dict) and {"type", "swagger"} <= part.keys() for part in parts)
    return schema if known and schema.get("input") else None


def _object(parts: Mapping[str, Any]) -> Schema:
    described: dict[str, Schema] = {name: dict(part["swagger"]) for name, part in parts.items()}
    examples = {name: schema.pop("example", None) for name, schema in described.items()}
    return {"type": "object", "properties": described, "example": examples}


def _kind(part: Mapping[str, Any]) -> AbstractParameterType:
    swagger, kind = part["swagger"], part["type"]
    if kind == DataTypes.NUMPY:
        return _numpy(_numpy_module().array_of(swagger))
    if kind == DataTypes.PANDAS:
        return _pandas(_pandas_module().table_of(swagger))
    sample = _STANDARD_SAMPLES.get(swagger["type"], swagger.get("example"))
    return StandardPythonParameterType(b"" if swagger.get("format") == "byte" else sample)


def _converted(name: str, value: Any, kind: AbstractParameterType) -> Any:
    try:
        return convert(value, kind)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        reason = str(error).partition("\n")[0][:_LONGEST_MESSAGE]
        message = f"Failed to deserialize {name} to type provided by input schema: {reason}"
        raise HttpError(400, message) from None


def _numpy(sample: Any) -> AbstractParameterType:
    return _numpy_module().NumpyParameterType(sample)  # type: ignore[no-any-return]


def _pandas(sample: Any) -> AbstractParameterType:
    return _pandas_module().PandasParameterType(sample)  # type: ignore[no-any-return]


def _numpy_module() -> Any:
    return import_module("modelyard_runtime.compat.numpy_type")


def _pandas_module() -> Any:
    return import_module("modelyard_runtime.compat.pandas_type")
