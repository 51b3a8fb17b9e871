"""The kinds of values that a parameter of `run` takes, told by its annotation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.signature import JsonSchema, Table
from modelyard_runtime.signatures.bodies import Text, decode, read_json
from modelyard_runtime.signatures.columns import records_of_table, records_of_tensors
from modelyard_runtime.signatures.places import spell_out
from modelyard_runtime.signatures.shapes import OBJECT, RECORDS, Shape
from modelyard_runtime.signatures.wording import kind_of, misfit, unfit
from modelyard_runtime.tensors import Tensor, TensorSpec

_LONGEST_SEARCHED = 64 << 10


class Value(ABC):
    """Makes the value of one parameter, whatever protocol brings it.

    Every method gets the name of the parameter, for its messages, and raises `HttpError`: 400 for
    what is not JSON, 422 for what does not fit.
    """

    schema: JsonSchema
    """JSON Schema of the value."""
    enveloped: bool = False
    """It is never a JSON object: where one comes, it is an envelope, `{"<parameter>": value}`."""
    shape: Shape = Shape()

    @abstractmethod
    def parse(self, name: str, text: Text) -> Any:
        """The value from JSON text."""

    @abstractmethod
    def build(self, name: str, value: Any) -> Any:
        """The value from JSON that has been parsed: numbers, texts, lists, dictionaries."""

    def from_tensors(self, name: str, tensors: Sequence[Tensor]) -> Any:
        """The value from tensors: rows of columns, members of an object, or the only tensor."""
        if self.shape.kind == RECORDS:
            return self.build(name, records_of_tensors(name, tensors))
        if self.shape.kind == OBJECT or len(tensors) > 1:
            return self._from_members(name, tensors)
        if not tensors:
            raise unfit(name, "is missing")
        tensor = tensors[0]
        if self.shape.is_scalar and tensor.count == 1:
            tensor = Tensor(tensor.name, tensor.datatype, (), tensor.data)
        return self.build(name, tensor.json_values())

    def from_table(self, name: str, table: Table) -> Any:
        """The value from a table: records where that is what it takes, else rows."""
        if self.shape.kind == RECORDS:
            return self.build(name, records_of_table(name, table))
        return self.build(name, table.rows)

    def specs(self, name: str) -> tuple[TensorSpec, ...]:
        """The tensors that it can be made of, where that can be told."""
        return self.shape.specs(name)

    def _from_members(self, name: str, tensors: Sequence[Tensor]) -> Any:
        """An object with a member for each tensor; of one element if that is what fits."""
        try:
            return self.build(name, {tensor.name: tensor.json_values() for tensor in tensors})
        except HttpError:
            if any(tensor.shape != (1,) for tensor in tensors):
                raise
        return self.build(name, {tensor.name: tensor.json_values()[0] for tensor in tensors})


class AnyValue(Value):
    """Whatever the JSON says, unchecked."""

    schema: JsonSchema = {}

    def parse(self, name: str, text: Text) -> Any:
        """The parsed JSON."""
        return read_json(text)

    def build(self, name: str, value: Any) -> Any:
        """The value itself."""
        return value


class PlainValue(AnyValue):
    """A `list` or a `dict` of whatever the JSON says."""

    def __init__(self, kind: type[list[Any]] | type[dict[str, Any]]) -> None:
        self._kind = kind
        self.enveloped = kind is list
        self.schema = {"type": "array", "items": {}} if kind is list else {"type": "object"}
        self.shape = Shape() if kind is list else Shape(OBJECT)

    def parse(self, name: str, text: Text) -> Any:
        """The parsed JSON, if it is of the kind."""
        return self.build(name, read_json(text))

    def build(self, name: str, value: Any) -> Any:
        """The value itself, if it is of the kind."""
        if type(value) is not self._kind:
            raise unfit(name, f"expected {kind_of(self._kind())}, got {kind_of(value)}")
        return value


class TypedValue(Value):
    """What msgspec decodes: dataclasses, typed dictionaries, unions, dates and so on, strictly."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation
        self._decode = msgspec.json.Decoder(annotation).decode
        self.shape = Shape.of(annotation)
        self.schema = msgspec.json.schema(annotation)
        self.enveloped = not self.shape.may_be_object

    def parse(self, name: str, text: Text) -> Any:
        """Straight from the bytes."""
        try:
            return decode(self._decode, text)
        except (msgspec.ValidationError, RecursionError) as error:
            raise misfit(name, error, lambda path: self._spelled_out(path, text)) from None

    def build(self, name: str, value: Any) -> Any:
        """The same rules for values that are parsed already."""
        try:
            return msgspec.convert(value, self._annotation)
        except (msgspec.ValidationError, RecursionError) as error:
            raise misfit(name, error) from None

    def _spelled_out(self, path: str, text: Text) -> str:
        """A place with the keys in it, unless the data is too long to look for them again."""
        value = read_json(text)
        if len(memoryview(text)) > _LONGEST_SEARCHED:
            return path

        def fails() -> bool:
            try:
                self._decode(orjson.dumps(value))
            except msgspec.ValidationError:
                return True
            return False

        try:
            return spell_out(path, value, fails)
        except (orjson.JSONEncodeError, RecursionError):  # it is nested too deeply for that
            return path
