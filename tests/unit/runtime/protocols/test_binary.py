from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import (
    deserialize_bytes_tensor,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.protocols.binary import bytes_of_tensor, tensor_of_bytes
from modelyard_runtime.tensors import SIZES, Tensor


def refused(datatype: str, shape: tuple[int, ...], raw: bytes) -> str:
    with pytest.raises(HttpError) as caught:
        tensor_of_bytes("x", datatype, shape, memoryview(raw))
    assert caught.value.status == 400
    assert "`x`" in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("datatype", SIZES)
def test_numbers_are_those_of_numpy(datatype: str) -> None:
    array = np.array([[0, 1, 0], [1, 1, 0]], dtype=triton_to_np_dtype(datatype))
    tensor = tensor_of_bytes("x", datatype, (2, 3), memoryview(array.tobytes()))
    assert tensor.nested() == array.tolist()
    assert bytes_of_tensor(tensor) == array.tobytes()
    assert bytes_of_tensor(Tensor("x", datatype, (2, 3), tensor.elements())) == array.tobytes()


def test_numbers_are_a_view_of_the_body() -> None:
    body = memoryview(bytes(range(16)))
    tensor = tensor_of_bytes("x", "FP32", (2,), body[8:])
    assert isinstance(tensor.data, memoryview)
    assert tensor.data.obj is body.obj


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_bytes_are_framed_as_tritonclient_does(values: list[bytes]) -> None:
    framed = serialize_byte_tensor(np.array(values, dtype=np.object_))
    raw = framed.item() if framed.size else b""
    tensor = tensor_of_bytes("x", "BYTES", (len(values),), memoryview(raw))
    assert tensor.elements() == values
    assert bytes_of_tensor(tensor) == raw
    assert list(deserialize_bytes_tensor(bytes_of_tensor(tensor))) == values


def test_text_is_sent_as_utf_8() -> None:
    assert bytes_of_tensor(Tensor("x", "BYTES", (1,), ["ä"])) == b"\2\0\0\0\xc3\xa4"


@pytest.mark.parametrize(
    ("datatype", "shape", "size"),
    [
        ("FP32", (2, 2), 15),
        ("FP32", (2, 2), 17),
        ("FP32", (2, 2), 0),
        ("FP64", (2,), 8),
        ("INT8", (0,), 1),
        ("INT8", (), 0),
        ("UINT16", (2**40,), 2),
    ],
)
def test_sizes_that_lie_are_refused(datatype: str, shape: tuple[int, ...], size: int) -> None:
    assert f"has {size}" in refused(datatype, shape, b"\0" * size)


@pytest.mark.parametrize(
    ("count", "raw"),
    [
        (1, b""),
        (1, b"\0\0\0"),
        (1, b"\1\0\0\0"),
        (1, b"\2\0\0\0x"),
        (1, b"\xff\xff\xff\xff" + b"x" * 100),
        (1, b"\0\0\0\0\0"),
        (1, b"\0\0\0\0\0\0\0\0"),
        (0, b"\0\0\0\0"),
        (2, b"\4\0\0\0\0\0\0\0"),
        (2**40, b"\0" * 1000),
    ],
)
def test_lengths_that_lie_are_refused_without_memory(count: int, raw: bytes) -> None:
    tracemalloc.start()
    try:
        refused("BYTES", (count,), raw)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_boolean_is_0_or_1() -> None:
    assert "BOOL" in refused("BOOL", (3,), b"\0\2\1")


def test_what_does_not_fit_its_datatype_cannot_be_packed() -> None:
    with pytest.raises(struct.error):
        bytes_of_tensor(Tensor("x", "UINT8", (1,), [256]))
