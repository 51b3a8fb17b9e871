"""Rows as objects, made of columns: named tensors, or a table whose columns have names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard_runtime.signature import Table
from modelyard_runtime.signatures.wording import unfit
from modelyard_runtime.tensors import Tensor


def records_of_tensors(name: str, tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    """One object for each row; a tensor for each member, of shape `[rows]` or `[rows, …]`."""
    lengths = {tensor.shape[:1] for tensor in tensors}
    if len(lengths) > 1 or () in lengths:
        raise unfit(name, "its tensors must have the same number of rows")
    columns = [column_of(tensor) for tensor in tensors]
    names = [tensor.name for tensor in tensors]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def records_of_table(name: str, table: Table) -> list[dict[str, Any]]:
    """One object for each row of a table."""
    if table.columns is None:
        raise unfit(name, "the columns must have names")
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def column_of(tensor: Tensor) -> list[Any]:
    """The values of a tensor row by row; of shape `[rows, 1]` it is a column, too."""
    if tensor.shape[1:] == (1,):
        tensor = Tensor(tensor.name, tensor.datatype, tensor.shape[:1], tensor.data)
    values: list[Any] = tensor.json_values()
    return values
