"""`NumpyParameterType`: numpy arrays as a sample declares them. Imported when a script does."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import numpy as np

from modelyard_runtime.arrays import expect_room
from modelyard_runtime.compat.descriptions import Schema
from modelyard_runtime.compat.parameter_types import AbstractParameterType

FORMAT = "numpy.ndarray"
"""`format` of an array's schema."""

_NUMBERS: dict[str, Schema] = {
    **{
        f"{sign}int{bits}": {"type": "integer", "format": f"{sign}int{bits}"}
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
    "float16": {"type": "number", "format": "float"},
    "float32": {"type": "number", "format": "float"},
    "float64": {"type": "number", "format": "double"},
    "bool": {"type": "boolean"},
    "object": {"type": "object"},
}
_UNITS = {
    "years": "Y",
    "months": "M",
    "weeks": "W",
    "days": "D",
    "hours": "h",
    "minutes": "m",
    "seconds": "s",
    "milliseconds": "ms",
    "microseconds": "us",
    "nanoseconds": "ns",
    "picoseconds": "ps",
    "femtoseconds": "fs",
    "attoseconds": "as",
}


class NumpyParameterType(AbstractParameterType):
    """An array.

    Args:
        sample_input: A sample, whose dtype and shape are the rule.
        enforce_column_type: Convert to the sample's dtype.
        enforce_shape: Require the sample's dimensions; the first may have any length.
    """

    def __init__(
        self, sample_input: Any, enforce_column_type: bool = True, enforce_shape: bool = True
    ) -> None:
        if not isinstance(sample_input, np.ndarray):
            raise TypeError("the sample of a NumpyParameterType must be a numpy array")
        super().__init__(sample_input)
        self.enforce_column_type = enforce_column_type
        self.enforce_shape = enforce_shape
        self._dtype = sample_input.dtype
        self._is_plain = self._dtype.kind not in "VMm"

    def deserialize_input(self, input_data: Any) -> Any:
        """An array from lists.

        Raises:
            ValueError: It is no list, has another shape, or values of another type.
        """
        if isinstance(input_data, np.ndarray):
            return input_data
        if not isinstance(input_data, list):
            raise ValueError("an array is expected as a list")
        array = np.array(*self._prepared(input_data))
        if self.enforce_shape:
            self._check_shape(array.shape)
        return array

    def input_to_swagger(self) -> Schema:
        """The schema of the array: lists in lists, as deep as it has dimensions."""
        schema = _in_lists(_describe(self._dtype), max(self.sample_input.ndim, 1))
        example = [_example(schema["items"], row) for row in self.sample_input]
        return {**schema, "example": example, "format": FORMAT}

    def _prepared(self, data: list[Any]) -> tuple[Any, ...]:
        if not self.enforce_column_type:
            expect_room("The array", data)
            return (data,)
        if self._is_plain:
            return data, self._dtype
        return [_item(value, self._dtype) for value in data], self._dtype

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        expected = self.sample_input.shape
        if len(shape) != len(expected):
            raise ValueError(
                f"an array of {len(expected)} dimensions is expected, and {len(shape)} came"
            )
        if shape[1:] != expected[1:]:
            raise ValueError(f"an array of the shape {expected} is expected, and {shape} came")


def array_of(schema: Schema) -> Any:
    """A sample array from the schema of one, by its example and the format of its items."""
    items = schema
    while items["type"] == "array":
        items = items["items"]
    fields = items.get("properties")
    if fields is None:
        return np.array(schema["example"], dtype=_dtype(items))
    dtype = np.dtype([(name, _dtype(field)) for name, field in fields.items()])
    return np.array([_item(row, dtype) for row in schema["example"]], dtype=dtype)


def _dtype(schema: Schema) -> Any:
    return _DTYPES.get((schema["type"], schema.get("format", "")), np.dtype(object))


def _item(value: Any, dtype: np.dtype[Any]) -> Any:
    """One value of a dtype: a row of a structured one comes as a list or by field name."""
    if dtype.names:
        by_name = isinstance(value, dict)
        return tuple(
            _item(value[name if by_name else at], dtype[name])
            for at, name in enumerate(dtype.names)
        )
    if dtype.kind == "M":
        return np.datetime64(value)
    return _duration(value) if dtype.kind == "m" else value


def _duration(text: str) -> Any:
    amount, _, unit = text.strip().partition(" ")
    if unit.strip().lower() not in _UNITS:
        raise ValueError(f"a duration is expected as `<number> <unit>`, and {text[:40]!r} came")
    return np.timedelta64(int(amount), _UNITS[unit.strip().lower()])  # type: ignore[call-overload]


def _describe(dtype: np.dtype[Any]) -> Schema:
    if dtype.names:
        properties = {name: _describe(dtype[name]) for name in dtype.names}
        return {"type": "object", "properties": properties}
    if dtype.subdtype is not None:
        inner, shape = dtype.subdtype
        return _in_lists(_describe(inner), len(shape))
    if dtype.kind in _TEXTS:
        return dict(_TEXTS[dtype.kind])
    if dtype.name not in _NUMBERS:
        raise TypeError(f"arrays of {dtype.name} cannot be described")
    return dict(_NUMBERS[dtype.name])


def _in_lists(items: Schema, depth: int) -> Schema:
    for _ in range(depth):
        items = {"type": "array", "items": items}
    return items


def _example(schema: Schema, value: Any) -> Any:
    if "properties" in schema:
        return {name: _example(part, value[name]) for name, part in schema["properties"].items()}
    if schema["type"] == "array":
        return [_example(schema["items"], item) for item in value]
    if schema.get("format") == "date-time":
        moment = value.astype("datetime64[us]").astype(datetime.datetime)
        return moment.strftime("%Y-%m-%d %H:%M:%S,%f")
    if schema.get("format") == "binary":
        return base64.b64encode(bytes(value)).decode()
    if schema["type"] in ("integer", "number", "boolean"):
        return value.item()
    return str(value)


_DTYPES = {
    **{
        (schema["type"], schema.get("format", "")): np.dtype(name)
        for name, schema in _NUMBERS.items()
        if name != "float16"  # described as float32 is
    },
    ("string", ""): np.dtype(str),
    ("string", "date-time"): np.dtype("datetime64[us]"),
}
_TEXTS: dict[str, Schema] = {
    "U": {"type": "string"},
    "S": {"type": "string", "format": "binary"},
    "V": {"type": "string", "format": "binary"},
    "M": {"type": "string", "format": "date-time"},
    "m": {"type": "string", "format": "timedelta"},
}
