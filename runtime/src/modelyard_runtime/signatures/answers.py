"""Results as JSON and as named tensors: the base of signatures that take any result."""

from __future__ import annotations

from typing import Any

import orjson

from modelyard_runtime.http import JSON, Response
from modelyard_runtime.signature import Signature
from modelyard_runtime.signatures.results import to_tensors
from modelyard_runtime.tensors import Tensor

_OPTIONS = orjson.OPT_NON_STR_KEYS
_FAST_OPTIONS = _OPTIONS | orjson.OPT_SERIALIZE_NUMPY
_BYTES = (b"content-type", b"application/octet-stream")


class AnySignature(Signature):
    """Takes whatever result can be sent; what it needs in between is up to subclasses."""

    def to_json(self, result: Any) -> bytes:
        """The result as JSON: NaN and infinities as `null`, no result as `{}`."""
        return b"{}" if result is None else to_json(result)

    def to_tensors(self, result: Any) -> list[Tensor]:
        """The result as named tensors."""
        return to_tensors(result)

    def to_response(self, result: Any) -> Response:
        """JSON, but for bytes: those are sent as they are."""
        if isinstance(result, bytes | bytearray | memoryview):
            return Response(200, bytes(result), [_BYTES])
        return Response(200, self.to_json(result), [JSON])


def to_json(result: Any) -> bytes:
    """Anything that JSON can hold, as JSON.

    Raises:
        TypeError: It holds what JSON cannot.
    """
    try:
        return orjson.dumps(result, _plain, _FAST_OPTIONS)
    except orjson.JSONEncodeError:  # perhaps only an array in another machine's byte order
        return orjson.dumps(result, _plain, _OPTIONS)


def _plain(value: Any) -> Any:
    """What an array holds that orjson does not take: not contiguous, of strings, of objects."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"an object of type `{type(value).__name__}` cannot be sent as JSON")
