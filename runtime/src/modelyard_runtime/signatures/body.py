"""A `run` with one parameter: the whole body is its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard_runtime.http import Request
from modelyard_runtime.signature import Arguments, JsonSchema, Table
from modelyard_runtime.signatures.answers import AnySignature
from modelyard_runtime.signatures.bodies import body_of
from modelyard_runtime.signatures.values import Value
from modelyard_runtime.tensors import Tensor


class BodySignature(AnySignature):
    """Parses the body as JSON into the value of one parameter."""

    def __init__(self, parameter: str, value: Value, output_schema: JsonSchema) -> None:
        self._parameter = parameter
        self._value = value
        self.input_schema = value.schema
        self.output_schema = output_schema

    def from_request(self, request: Request) -> Arguments:
        """The value that the body or query holds."""
        return {self._parameter: self._value.parse(self._parameter, body_of(request))}

    def from_tensors(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Arguments:
        """The only tensor, or several by name."""
        if len(tensors) == 1:
            return self._built(tensors[0].json_values())
        return self._built({tensor.name: tensor.json_values() for tensor in tensors})

    def from_table(self, table: Table, parameters: Mapping[str, Any]) -> Arguments:
        """Records where columns have names, else lists."""
        if table.columns is None:
            return self._built(table.rows)
        return self._built([dict(zip(table.columns, row, strict=True)) for row in table.rows])

    def _built(self, value: Any) -> Arguments:
        return {self._parameter: self._value.build(self._parameter, value)}
