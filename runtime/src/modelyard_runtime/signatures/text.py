"""Scripts of the original kind, `run(raw_data)`: they read the body themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard_runtime.http.server import Request
from modelyard_runtime.signature import Arguments, Table
from modelyard_runtime.signatures.answers import NOTHING_KNOWN, UNKNOWN, Answers, AnySignature
from modelyard_runtime.signatures.bodies import body_of, read_text, write_json
from modelyard_runtime.tensors import Tensor


class TextSignature(AnySignature):
    """Gets the body as text; other protocols' data as JSON text."""

    def __init__(self, parameter: str, answers: Answers = NOTHING_KNOWN) -> None:
        self._parameter = parameter
        self.input_schema = UNKNOWN
        self.output_schema = answers.schema
        self.outputs = answers.specs

    def from_request(self, request: Request) -> Arguments:
        """The body or query as text."""
        return {self._parameter: read_text(body_of(request))}

    def from_tensors(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Arguments:
        """An object of nested lists by the names of the tensors, as text."""
        return {self._parameter: _tensors_as_json(tensors).decode()}

    def from_table(self, table: Table, parameters: Mapping[str, Any]) -> Arguments:
        """The object `{"columns": …, "data": …}` as text; no `columns` if they have no names."""
        return {self._parameter: _table_as_json(table).decode()}


class BytesSignature(TextSignature):
    """Gets the body as it came; of other protocols one element of bytes, or JSON."""

    def from_request(self, request: Request) -> Arguments:
        """The body as it came, or the query as JSON."""
        return {self._parameter: body_of(request)}

    def from_tensors(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Arguments:
        """The only element of the only tensor if that is of bytes, else as JSON text in UTF-8."""
        if len(tensors) == 1 and tensors[0].datatype == "BYTES" and tensors[0].count == 1:
            value = tensors[0].elements()[0]
            return {self._parameter: value.encode() if isinstance(value, str) else bytes(value)}
        return {self._parameter: _tensors_as_json(tensors)}

    def from_table(self, table: Table, parameters: Mapping[str, Any]) -> Arguments:
        """As for text, in UTF-8."""
        return {self._parameter: _table_as_json(table)}


def _tensors_as_json(tensors: Sequence[Tensor]) -> bytes:
    return write_json({tensor.name: tensor.json_values() for tensor in tensors})


def _table_as_json(table: Table) -> bytes:
    if table.columns is None:
        return write_json({"data": table.rows})
    return write_json({"columns": table.columns, "data": table.rows})
