"""Tensors from raw bytes and back: the binary extension of the Open Inference Protocol, and gRPC.

Numbers are little-endian and row-major. They are not copied: a tensor is a view of the body, and
`signatures` lay numpy arrays over it. Elements of `BYTES` each have their length in four bytes
before them.
"""

from __future__ import annotations

import math
from typing import Any

from modelyard_runtime.protocols.values import wrong
from modelyard_runtime.tensors import SIZES, Tensor

_LENGTH = 4
"""Bytes of the length in front of every element of `BYTES`."""


def tensor_of_bytes(name: str, datatype: str, shape: tuple[int, ...], raw: memoryview) -> Tensor:
    """A tensor over bytes of exactly the size that its shape and datatype make.

    Raises:
        HttpError: 400, the size is another, or a boolean is neither 0 nor 1.
    """
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, _split(name, math.prod(shape), raw))
    expected = math.prod(shape) * SIZES[datatype]
    if len(raw) != expected:
        said = f"the shape {list(shape)} of {datatype} makes {expected} bytes"
        raise wrong(name, f"{said}, but its data has {len(raw)}")
    if datatype == "BOOL" and bytes(raw).strip(b"\0\1"):
        raise wrong(name, "a BOOL in binary data is one byte, 0 or 1")
    return Tensor(name, datatype, shape, raw)


def _split(name: str, count: int, raw: memoryview) -> list[bytes]:
    """The elements of a `BYTES` tensor. `count` is not believed before there are bytes for it."""
    if count * _LENGTH > len(raw):
        raise wrong(name, f"its {count} elements do not fit into {len(raw)} bytes of data")
    elements: list[bytes] = []
    at = 0
    while at < len(raw) and len(elements) < count:
        start = at + _LENGTH
        at = start + int.from_bytes(raw[at:start], "little")
        elements.append(bytes(raw[start:at]))
    if at != len(raw) or len(elements) != count:
        raise wrong(name, f"the lengths in its data do not make {count} elements")
    return elements


def bytes_of_tensor(tensor: Tensor) -> bytes | memoryview:
    """The data of a tensor as raw bytes."""
    if tensor.datatype == "BYTES":
        return b"".join(map(_with_length, tensor.elements()))
    return tensor.packed()


def _with_length(value: Any) -> bytes:
    raw = value.encode() if isinstance(value, str) else bytes(value)
    return len(raw).to_bytes(_LENGTH, "little") + raw
