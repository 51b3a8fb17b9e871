"""`inference_schema`'s decorators: a `run` that says by samples what it takes and returns.

A decorated function converts its arguments when it is called, by whomever. What its decorators say
is kept on it, and read by `decorated` and by the functions of `schema_util`, which are here too.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from modelyard_runtime.compat import SCHEMAS
from modelyard_runtime.compat.descriptions import Schema
from modelyard_runtime.compat.parameter_types import VERSIONS, AbstractParameterType, convert

_Function = Callable[..., Any]
ALL_VERSIONS = frozenset(VERSIONS)
_UNKNOWN: Schema = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is done with one parameter."""

    name: str
    kind: AbstractParameterType
    optional: bool
    position: int
    """Among the parameters."""

    def apply(self, given: list[Any], named: dict[str, Any]) -> None:
        """Convert the parameter's value in place, wherever it is."""
        if self.name in named:
            if not self.optional or named[self.name]:
                named[self.name] = convert(named[self.name], self.kind)
        elif not self.optional:
            if self.position >= len(given):
                raise TypeError(f"a value for the parameter `{self.name}` is missing")
            given[self.position] = convert(given[self.position], self.kind)


@dataclass(frozen=True, slots=True)
class Schemas:
    """What the decorators of one function say, all together."""

    input: Schema | None = None
    output: Schema | None = None
    input_versions: frozenset[str] = ALL_VERSIONS
    """Of the outermost decorator alone, as in the original: if that one has no mixed array, all
    are described in Swagger 2.0 too."""
    output_versions: frozenset[str] = ALL_VERSIONS


def input_schema(
    param_name: str,
    param_type: AbstractParameterType,
    convert_to_provided_type: bool = True,
    optional: bool = False,
) -> Callable[[_Function], _Function]:
    """Declare a parameter of a function by a sample. May be put on several times.

    Args:
        param_name: The parameter.
        param_type: Its type.
        convert_to_provided_type: Convert what comes to the type; else pass parsed JSON on.
        optional: A value that is missing or empty is passed on as it is.

    Raises:
        TypeError: The type is no parameter type.
        ValueError: When it is put on a function that has no such parameter.
    """
    schema = _schema_of(param_type)

    def decorate(function: _Function) -> _Function:
        names = list(inspect.signature(function).parameters)
        if param_name not in names:
            raise ValueError(f"the function has no parameter `{param_name}`")
        schemas = _schemas_of(function)
        described = _with_parameter(schemas.input or _any_of(names), param_name, schema)
        if convert_to_provided_type:
            conversion = Conversion(param_name, param_type, optional, names.index(param_name))
            function = _converting(function, conversion)
        versions = frozenset(param_type.supported_versions())
        return _described_by(function, replace(schemas, input=described, input_versions=versions))

    return decorate


def output_schema(output_type: AbstractParameterType) -> Callable[[_Function], _Function]:
    """Declare what a function returns by a sample. It is described, not checked.

    Raises:
        TypeError: The type is no parameter type.
        ValueError: When it is put on a function for the second time.
    """
    schema = _schema_of(output_type)

    def decorate(function: _Function) -> _Function:
        schemas = _schemas_of(function)
        if schemas.output is not None:
            raise ValueError("the function has an output schema already")
        versions = frozenset(output_type.supported_versions())
        return _described_by(function, replace(schemas, output=schema, output_versions=versions))

    return decorate


def is_schema_decorated(func: _Function) -> bool:
    """Whether a function has one of the decorators."""
    return hasattr(func, SCHEMAS)


def get_input_schema(func: _Function) -> Schema:
    """The schema of what a function takes: an object with its parameters."""
    schemas: Schemas | None = getattr(func, SCHEMAS, None)
    return copy.deepcopy((schemas and schemas.input) or _UNKNOWN)


def get_output_schema(func: _Function) -> Schema:
    """The schema of what a function returns."""
    schemas: Schemas | None = getattr(func, SCHEMAS, None)
    return copy.deepcopy((schemas and schemas.output) or _UNKNOWN)


def get_supported_versions(func: _Function) -> list[str]:
    """The versions of Swagger and OpenAPI that can say what a function takes and returns."""
    schemas = _schemas_of(func)
    return sorted(schemas.input_versions & schemas.output_versions)


def _schema_of(kind: AbstractParameterType) -> Schema:
    if not isinstance(kind, AbstractParameterType):
        raise TypeError("a schema decorator needs a parameter type, such as NumpyParameterType")
    return kind.input_to_swagger()


def _schemas_of(function: _Function) -> Schemas:
    schemas: Schemas | None = getattr(function, SCHEMAS, None)
    return schemas or Schemas()


def _any_of(names: list[str]) -> Schema:
    """The schema of an object with these parameters, of which nothing is known yet."""
    properties: dict[str, Schema] = {name: {} for name in names}
    return {"type": "object", "properties": properties, "example": dict.fromkeys(names, "")}


def _with_parameter(schema: Schema, name: str, parameter: Schema) -> Schema:
    described = {key: value for key, value in parameter.items() if key != "example"}
    return {
        "type": "object",
        "properties": {**schema["properties"], name: described},
        "example": {**schema["example"], name: parameter["example"]},
    }


def _converting(function: _Function, conversion: Conversion) -> _Function:
    @functools.wraps(function)
    def converting(*given: Any, **named: Any) -> Any:
        positional = list(given)
        conversion.apply(positional, named)
        return function(*positional, **named)

    return converting


def _described_by(function: _Function, schemas: Schemas) -> _Function:
    setattr(function, SCHEMAS, schemas)
    return function
