"""One named tensor on its way between a protocol and a scoring script; holds no numpy.

The Open Inference Protocol brings tensors, and any other protocol's arrays become some. Values are
either Python values in row-major order (from JSON) or little-endian bytes (the binary extension):
`modelyard_runtime.arrays` turns both into numpy arrays where numpy is there.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from modelyard_runtime.http.messages import HttpError

SIZES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
}
"""Bytes of one element, by datatype. `BYTES` is not here: its elements have a length each."""

_CODES = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}

_BY_ARRAY_TYPE = {
    **{f"u{size}": f"UINT{8 * size}" for size in (1, 2, 4, 8)},
    **{f"i{size}": f"INT{8 * size}" for size in (1, 2, 4, 8)},
    **{f"f{size}": f"FP{8 * size}" for size in (2, 4, 8)},
    "b1": "BOOL",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What is known of one input or output before any request."""

    name: str
    datatype: str
    """One of `SIZES`, or `BYTES`."""
    shape: tuple[int, ...]
    """-1 where any length will do."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor whose shape and amount of data have been checked against each other."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | memoryview
    """Row-major: a flat list, or, never for `BYTES`, little-endian bytes."""

    @property
    def count(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    def elements(self) -> list[Any]:
        """Its values as a flat list of Python values."""
        if isinstance(self.data, list):
            return self.data
        return list(struct.unpack(f"<{self.count}{_CODES[self.datatype]}", self.data))

    def packed(self) -> bytes | memoryview:
        """Its values as little-endian bytes; not for `BYTES`.

        Raises:
            struct.error, OverflowError: A value is not one of the datatype.
        """
        if isinstance(self.data, memoryview):
            return self.data
        return struct.pack(f"<{self.count}{_CODES[self.datatype]}", *self.data)

    def nested(self) -> Any:
        """Its values as lists in lists, one level for each dimension; a bare value for none."""
        values: list[Any] = self.elements()
        if not self.shape:
            return values[0]
        for length in reversed(self.shape[1:]):
            rows = range(len(values) // length) if length else range(math.prod(self.shape[:-1]))
            values = [values[row * length : (row + 1) * length] for row in rows]
        return values

    def json_values(self) -> Any:
        """As `nested`, with texts where there are bytes.

        Raises:
            HttpError: 422, some of the bytes are not UTF-8.
        """
        if self.datatype != "BYTES":
            return self.nested()
        texts = [self._text(value) for value in self.elements()]
        return Tensor(self.name, self.datatype, self.shape, texts).nested()

    def _text(self, value: str | bytes) -> str:
        try:
            return value if isinstance(value, str) else bytes(value).decode()
        except UnicodeDecodeError:
            raise HttpError(422, f"{self.name}: holds bytes that are not UTF-8 text") from None


def tensor_of_array(name: str, array: Any) -> Tensor | None:
    """A numpy array or scalar as a tensor; None if no datatype but `BYTES` could hold it."""
    datatype = _BY_ARRAY_TYPE.get(array.dtype.str[1:])
    if datatype is None:
        return None
    shape = array.shape or (1,)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return Tensor(name, datatype, shape, memoryview(little.tobytes()))
