"""Rows that are texts: what models take that begin with a vectorizer of words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from modelyard_runtime.arrays import array_of_tensor
from modelyard_runtime.frameworks.inputs import Inputs, only
from modelyard_runtime.frameworks.matrix import INPUT
from modelyard_runtime.http.server import HttpError
from modelyard_runtime.signatures.wording import kind_of
from modelyard_runtime.tensors import Tensor, TensorSpec


class Texts(Inputs):
    """A list of strings."""

    specs = (TensorSpec(INPUT, "BYTES", (-1,)),)
    row_schema = {"type": "string"}

    def from_rows(self, rows: list[Any]) -> list[str]:
        """The strings; a table's rows come as lists of one."""
        texts = [_text(row) for row in rows]
        for at, text in enumerate(texts):
            if type(text) is not str:
                raise HttpError(422, f"Row {at} must be text, not {kind_of(text)}.")
        return texts

    def from_tensors(self, tensors: Sequence[Tensor]) -> list[str]:
        """One tensor of strings, in one column if it has two dimensions."""
        array = array_of_tensor(only(tensors, INPUT))
        if array.ndim == 0 or array.size != len(array):
            raise HttpError(422, "The input must have one string for each row.")
        return self.from_rows(array.ravel().tolist())

    def count(self, value: list[str]) -> int:
        """One string a row."""
        return len(value)

    def join(self, values: Sequence[list[str]]) -> list[str]:
        """One list after the other."""
        return list(chain.from_iterable(values))


def _text(row: Any) -> Any:
    if type(row) is dict and len(row) == 1:
        return next(iter(row.values()))
    return row[0] if type(row) is list and len(row) == 1 else row
