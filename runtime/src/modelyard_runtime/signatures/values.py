"""The kinds of values that a parameter of `run` takes, told by its annotation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from modelyard_runtime.signature import JsonSchema
from modelyard_runtime.signatures.bodies import read_json


class Value(ABC):
    """Makes the value of one parameter from JSON."""

    schema: JsonSchema
    """JSON Schema of the value."""

    @abstractmethod
    def parse(self, name: str, text: bytes) -> Any:
        """The value of the parameter `name` from JSON text.

        Raises:
            HttpError: 400 if it is not JSON, 422 if it does not fit; the message names the field.
        """

    @abstractmethod
    def build(self, name: str, value: Any) -> Any:
        """The same from JSON that has been parsed: numbers, texts, lists, dictionaries."""


class AnyValue(Value):
    """Whatever the JSON says, unchecked."""

    def __init__(self, schema: JsonSchema) -> None:
        self.schema = schema

    def parse(self, name: str, text: bytes) -> Any:
        """The parsed JSON."""
        return read_json(text)

    def build(self, name: str, value: Any) -> Any:
        """The value itself."""
        return value
