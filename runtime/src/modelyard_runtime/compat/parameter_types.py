"""`inference_schema.parameter_types`: the types a sample declares, for conversion and description.

Arrays and tables are in `numpy_type` and `pandas_type`, which import their packages.
"""

from __future__ import annotations

import base64
import datetime
import json
import re
from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from modelyard_runtime.compat.descriptions import Schema, describe, example_is_uniform

VERSIONS = ("2.0", "3.0", "3.1")


class AbstractParameterType(ABC):
    """A type that a sample declares. Scripts may derive their own.

    Attributes:
        sample_input: The sample.
        sample_data_type: Its class; what is of this class already is not converted.
    """

    def __init__(self, sample_input: Any) -> None:
        self.sample_input = sample_input
        self.sample_data_type = type(sample_input)

    @abstractmethod
    def deserialize_input(self, input_data: Any) -> Any:
        """A value of this type from parsed JSON."""

    @abstractmethod
    def input_to_swagger(self) -> Schema:
        """The schema of the type, with the sample as `example`."""

    def supported_versions(self) -> list[str]:
        """Versions of Swagger and OpenAPI that can say it; 2.0 has no arrays of mixed types."""
        uniform = example_is_uniform(self.input_to_swagger()["example"])
        return list(VERSIONS if uniform else VERSIONS[1:])


class StandardPythonParameterType(AbstractParameterType):
    """A type of the language itself; lists and dictionaries may hold other parameter types."""

    def __init__(self, sample_input: Any) -> None:
        super().__init__(sample_input)
        self.sample_data_type_map: dict[str, AbstractParameterType] = {}
        self.sample_data_type_list: list[AbstractParameterType] = []
        if self.sample_data_type is dict:
            for name, value in sample_input.items():
                if isinstance(value, AbstractParameterType):
                    self.sample_data_type_map[name] = value
        elif self.sample_data_type in (list, tuple):
            self.sample_data_type_list = [
                value for value in sample_input if isinstance(value, AbstractParameterType)
            ]

    def deserialize_input(self, input_data: Any) -> Any:
        """The value, if it is of the sample's type; dates, times and bytes from their text.

        Raises:
            ValueError: It is of another type.
        """
        expected = self.sample_data_type
        if expected in _FROM_TEXT and isinstance(input_data, str):
            input_data = _FROM_TEXT[expected](input_data)
        whole = expected is float and type(input_data) is int
        if not (whole or isinstance(input_data, expected)):
            raise wrong_type(expected, input_data)
        return input_data

    def input_to_swagger(self) -> Schema:
        """The schema of the sample.

        Raises:
            ValueError: There is no sample.
            TypeError: It holds what JSON cannot.
        """
        if self.sample_input is None:
            raise ValueError("a parameter type needs a sample that is not None")
        schema = describe(self.sample_input)
        json.dumps(schema)
        return schema


def wrong_type(expected: type, value: Any) -> ValueError:
    """What to raise for a value that is not of the sample's type."""
    return ValueError(f"expected {expected.__name__}, got {type(value).__name__}")


def convert(value: Any, kind: AbstractParameterType) -> Any:
    """A value of a declared type from parsed JSON; parts that declare a type are converted too.

    Raises:
        ValueError: It is not what the sample shows.
    """
    expected = kind.sample_data_type
    if expected is dict and isinstance(kind, StandardPythonParameterType):
        return _convert_dict(value, kind)
    if expected in (list, tuple) and isinstance(kind, StandardPythonParameterType):
        return _convert_list(value, kind)
    return value if isinstance(value, expected) else kind.deserialize_input(value)


def _convert_dict(value: Any, kind: StandardPythonParameterType) -> Any:
    if not isinstance(value, dict):
        raise wrong_type(dict, value)
    for name, part in kind.sample_data_type_map.items():
        if name in value:
            value[name] = convert(value[name], part)
    return value


def _convert_list(value: Any, kind: StandardPythonParameterType) -> Any:
    if not isinstance(value, list | tuple):
        raise wrong_type(kind.sample_data_type, value)
    if not kind.sample_data_type_list:
        return value
    part = kind.sample_data_type_list[0]
    return [convert(item, part) for item in value]


def _datetime(text: str) -> datetime.datetime:
    """A time in one of ISO 8601's forms, or in any that dateutil knows, where that is installed."""
    try:
        return datetime.datetime.fromisoformat(re.sub(r"\s+(?=[+-]\d)", "", text))
    except ValueError:
        if find_spec("dateutil") is None:
            raise
    parsed: datetime.datetime = import_module("dateutil.parser").parse(text)
    return parsed


def _time(text: str) -> datetime.time:
    return _datetime(f"2000-01-01 {text}").timetz()


_FROM_TEXT: dict[type, Any] = {
    datetime.date: datetime.date.fromisoformat,
    datetime.datetime: _datetime,
    datetime.time: _time,
    bytes: base64.b64decode,
    bytearray: lambda text: bytearray(base64.b64decode(text)),
}
"""Types that JSON has only texts for. Texts are those of the examples in the description."""
