"""Results as JSON and as named tensors: the base of signatures that take any result."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from modelyard_runtime.compat.response import response_of
from modelyard_runtime.http.server import JSON, Response
from modelyard_runtime.signature import JsonSchema, Signature
from modelyard_runtime.signatures.results import NAME, to_tensors
from modelyard_runtime.signatures.schemas import schema_of
from modelyard_runtime.signatures.shapes import Shape
from modelyard_runtime.tensors import Tensor, TensorSpec

UNKNOWN: JsonSchema = {"type": "object", "example": {}}
"""Describes what only the script knows."""

_OPTIONS = orjson.OPT_NON_STR_KEYS
_FAST_OPTIONS = _OPTIONS | orjson.OPT_SERIALIZE_NUMPY
_BYTES = (b"content-type", b"application/octet-stream")
_RAW = (bytes, bytearray, memoryview)
_MISSING = ("NAType", "NaTType")


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of a script's results."""

    schema: JsonSchema
    specs: tuple[TensorSpec, ...] = ()

    @classmethod
    def of(cls, annotation: Any) -> Answers:
        """What the annotation of a `run`'s result says."""
        try:
            specs = Shape.of(annotation).specs(NAME)
        except (TypeError, NotImplementedError):
            specs = ()
        return cls(schema_of(annotation) or UNKNOWN, specs)

    @classmethod
    def of_arrays(cls) -> Answers:
        """What is known of results that are numpy arrays: their dimensions are not."""
        return cls({"type": "array", "items": {}})


NOTHING_KNOWN = Answers(UNKNOWN)


class AnySignature(Signature):
    """Takes whatever result can be sent; what it needs in between is up to subclasses."""

    def to_json(self, result: Any) -> bytes:
        """The result as JSON: NaN and infinities as `null`, no result as `{}`."""
        return b"{}" if result is None else to_json(result)

    def to_tensors(self, result: Any) -> list[Tensor]:
        """The result as named tensors."""
        return to_tensors(result)

    def to_response(self, result: Any) -> Response:
        """JSON, but for bytes and for answers that a script has made: those go as they are."""
        if isinstance(result, _RAW):
            return Response(200, bytes(result), [_BYTES])
        try:
            return Response(200, self.to_json(result), [JSON])
        except TypeError:
            made = response_of(result)
            if made is None:
                raise
            return made


def to_json(result: Any) -> bytes:
    """Anything that JSON can hold, as JSON.

    Raises:
        TypeError: It holds what JSON cannot.
    """
    try:
        return orjson.dumps(result, plain, _FAST_OPTIONS)
    except orjson.JSONEncodeError:  # perhaps only an array in another machine's byte order
        pass
    try:
        return orjson.dumps(result, plain, _OPTIONS)
    except orjson.JSONEncodeError:  # or an integer beyond 64 bits, a lone surrogate, a named tuple
        return _slowly(result)


def _slowly(result: Any) -> bytes:
    try:
        return json.dumps(result, default=plain, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise TypeError(str(error)) from None


def plain(value: Any) -> Any:
    """What orjson does not take, in types that it does.

    Raises:
        TypeError: JSON has nothing like it.
    """
    if hasattr(value, "tolist"):  # arrays that are not contiguous, of strings, of objects; series
        return value.tolist()
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value, enc_hook=plain)
    if hasattr(value, "model_dump"):  # a pydantic model
        return value.model_dump(mode="json")
    if hasattr(value, "columns") and hasattr(value, "to_dict"):  # a data frame
        return value.to_dict(orient="records")
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, datetime.datetime):  # a subclass, such as that of pandas
        return value.isoformat()
    raise TypeError(f"an object of type `{type(value).__name__}` cannot be sent as JSON")
