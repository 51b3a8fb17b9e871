"""What clients send to a model without a script: rows, and which method is to score them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import parse_qs

import orjson

from modelyard_runtime.frameworks.answers import Answer, answer_of
from modelyard_runtime.frameworks.inputs import Inputs
from modelyard_runtime.http.server import HttpError, Request
from modelyard_runtime.signature import Arguments, Batching, JsonSchema, Signature, Table
from modelyard_runtime.signatures.bodies import body_of, read_json
from modelyard_runtime.tensors import Tensor, TensorSpec

_MOST_QUERY_FIELDS = 100
_MOST_TOGETHER = 256 << 10
"""Bytes of bodies that are read at once. Of long ones each costs so much that it gains nothing."""
_ANY: JsonSchema = {"type": "array", "items": {}}
_FORMS = (
    'Send rows, `[[…], …]` or `[{…}, …]`, or `{"data": rows}`; a single record is a list of one'
)


@dataclass(frozen=True, slots=True)
class Served:
    """What an adapter makes of a model's files."""

    methods: Mapping[str, Callable[[Any], Any]]
    """What callers may ask for; the first is what they get when they do not ask. Each is called
    with a value that `inputs` made, and returns one array, several, or arrays by name."""
    inputs: Inputs
    outputs: tuple[TensorSpec, ...] = ()
    """What the first method returns, if that is known."""
    output_schema: JsonSchema | None = None
    """JSON Schema of the first method's answer, if known."""
    batches: bool = True
    """Rows do not depend on each other: several requests may be scored in one call."""
    takes_frames: bool = False
    """The methods take a pandas data frame as well as what `inputs` makes."""


class ModelSignature(Signature):
    """Rows in one of the forms of `Inputs`, and optionally the name of a method.

    `method` is a field of the query or of the body beside `data`; for other protocols, a parameter
    of the request.
    """

    def __init__(self, served: Served) -> None:
        self._read = served.inputs
        self.methods = tuple(served.methods)
        self._default = self.methods[0]
        self.inputs = served.inputs.specs
        self.outputs = served.outputs
        self.input_schema = _body_schema(served.inputs, self.methods)
        self.output_schema = served.output_schema or _ANY

    def from_request(self, request: Request) -> Arguments:
        """Rows out of the body, or out of the query of a GET."""
        posted = request.method == "POST"  # else the query has been read as the body
        document = read_json(request.view if posted else body_of(request))
        method = _asked(request.query) if posted and request.query else None
        if type(document) is dict:
            document, method = self._opened(document, method)
        if type(document) is not list:
            raise HttpError(422, f"The rows must be a list. {_FORMS}.")
        return {"rows": self._rows(document), "method": self._method(method)}

    def from_tensors(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Arguments:
        """Rows out of tensors; the parameter `method` names another method."""
        if any(tensor.shape[:1] == (0,) for tensor in tensors):
            raise HttpError(422, "There are no rows to score.")
        rows = self._read.from_tensors(tensors)
        return {"rows": rows, "method": self._method(parameters.get("method"))}

    def from_table(self, table: Table, parameters: Mapping[str, Any]) -> Arguments:
        """Rows out of a table; the parameter `method` names another method."""
        if not table.rows:
            raise HttpError(422, "There are no rows to score.")
        method = self._method(parameters.get("method"))
        return {"rows": self._read.from_table(table), "method": method}

    def to_json(self, result: Answer) -> bytes:
        """A list with one entry for each row."""
        return result.to_json()

    def to_tensors(self, result: Answer) -> list[Tensor]:
        """The arrays by their names; one that has none is named like the method."""
        return result.to_tensors()

    def _opened(self, document: dict[str, Any], method: Any) -> tuple[Any, Any]:
        """Rows and method out of an envelope."""
        if "data" not in document:
            raise HttpError(422, f"The body has no `data`. {_FORMS}.")
        unknown = next((key for key in document if key not in ("data", "method")), None)
        if unknown is not None:
            raise HttpError(
                422, f"`{unknown[:60]}` is not known beside `data`; only `method` is. {_FORMS}."
            )
        return document["data"], document.get("method", method)

    def _rows(self, rows: list[Any]) -> Any:
        if not rows:
            raise HttpError(422, "There are no rows to score.")
        return self._read.from_rows(rows)

    def _method(self, name: Any) -> str:
        if name is None:
            return self._default
        if name not in self.methods:
            raise HttpError(422, f"`method` must be one of {', '.join(self.methods)}.")
        return str(name)


class RowBatching(Batching):
    """Rows of several requests under each other, for one method."""

    def __init__(self, served: Served) -> None:
        self._inputs = served.inputs
        self._default = next(iter(served.methods))

    def rows(self, arguments: Arguments) -> int:
        """Rows of one request."""
        return self._inputs.count(arguments["rows"])

    def key(self, arguments: Arguments) -> Any:
        """The method, and what the rows must have in common."""
        return arguments["method"], self._inputs.key(arguments["rows"])

    def join(self, calls: Sequence[Arguments]) -> Arguments:
        """All rows, for the one method of all."""
        rows = self._inputs.join([call["rows"] for call in calls])
        return {"rows": rows, "method": calls[0]["method"]}

    def split(self, result: Answer, rows: Sequence[int]) -> list[Any]:
        """The answers of the requests."""
        return result.split(rows)

    def read(self, bodies: Sequence[bytes]) -> tuple[Arguments, list[int]] | None:
        """Plain rows without booleans, for the method of those who name none."""
        text = b",".join(bodies)
        if len(text) > _MOST_TOGETHER or _may_hold_booleans(text):
            return None
        documents = list(map(orjson.loads, bodies))  # each for itself: `[1],[2` and `3]` are none
        if set(map(type, documents)) != {list} or not all(documents):
            return None
        rows = self._inputs.from_joined_rows(list(chain.from_iterable(documents)))
        if rows is None:
            return None
        return {"rows": rows, "method": self._default}, list(map(len, documents))

    def write(self, result: Answer, rows: Sequence[int]) -> list[bytes] | None:
        """Cut out of one text."""
        return result.texts(rows)


def scoring(methods: Mapping[str, Callable[[Any], Any]]) -> Callable[..., Answer]:
    """The `run` of a model: calls the method that was asked for."""

    def run(rows: Any, method: str) -> Answer:
        return answer_of(method, methods[method](rows))

    return run


def _may_hold_booleans(text: bytes) -> bool:
    """To look for a single letter first is many times faster."""
    return (b"u" in text and b"true" in text) or (b"s" in text and b"false" in text)


def _asked(query: str) -> str | None:
    """The method that the query names."""
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=_MOST_QUERY_FIELDS)
    except ValueError:
        raise HttpError(400, "The query cannot be read.") from None
    unknown = next((name for name in fields if name != "method"), None)
    if unknown is not None:
        raise HttpError(422, f"`{unknown[:60]}` is not known in the query; only `method` is.")
    return fields["method"][-1] if fields else None


def _body_schema(inputs: Inputs, methods: Sequence[str]) -> JsonSchema:
    """The envelope: the one form that says all. Plain rows are taken too."""
    return {
        "type": "object",
        "description": "The rows may also be the whole body.",
        "properties": {
            "data": {"type": "array", "items": dict(inputs.row_schema), "minItems": 1},
            "method": {"type": "string", "enum": list(methods), "default": methods[0]},
        },
        "required": ["data"],
        "additionalProperties": False,
    }
