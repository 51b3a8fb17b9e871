"""What a model takes: rows of one kind, out of JSON, tensors or tables, ready for its methods.

The kinds are `matrix` (numbers), `frames` (columns of any type), `texts` and `named` (tensors).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.signature import JsonSchema, Table
from modelyard_runtime.tensors import Tensor, TensorSpec

_MOST_NAMED = 10


class Inputs(ABC):
    """One kind of rows. What reads may raise `HttpError`, 422, which names what is wrong."""

    specs: tuple[TensorSpec, ...]
    """As tensors."""
    row_schema: JsonSchema
    """JSON Schema of one row, in its clearest form."""

    @abstractmethod
    def from_rows(self, rows: list[Any]) -> Any:
        """Rows out of JSON, at least one: each a list, or an object by feature name."""

    @abstractmethod
    def from_tensors(self, tensors: Sequence[Tensor]) -> Any:
        """Rows out of tensors."""

    def from_table(self, table: Table) -> Any:
        """Rows out of a table."""
        if table.columns is None:
            return self.from_rows(table.rows)
        return self.from_rows([dict(zip(table.columns, row, strict=True)) for row in table.rows])

    def from_joined_rows(self, rows: list[Any]) -> Any:
        """What `join` would make of the rows of several requests, without booleans among them.

        Returns:
            None: not known to be the same as reading each request's rows for themselves.

        Raises:
            HttpError: Some request's rows do not fit, or not those of all together.
        """
        return None

    @abstractmethod
    def count(self, value: Any) -> int:
        """How many rows there are."""

    def key(self, value: Any) -> Any:
        """Values with equal keys can be joined."""
        return None

    @abstractmethod
    def join(self, values: Sequence[Any]) -> Any:
        """The rows of all, in their order."""


def in_order(rows: list[Any], names: Sequence[str]) -> list[list[Any]]:
    """Records as lists, in the order of the features.

    Raises:
        HttpError: 422, a record lacks a feature or has one that the model does not know.
    """
    width = len(names)
    try:
        ordered = [[row[name] for name in names] for row in rows]
    except (KeyError, TypeError, IndexError):
        ordered = []
    if not ordered or any(len(row) != width for row in rows):
        raise _misfit(rows, names)
    return ordered


def check_widths(rows: list[Any], width: int) -> None:
    """Refuse rows that are no lists of this length.

    Raises:
        HttpError: 422, names the first one.
    """
    for at, row in enumerate(rows):
        if type(row) is not list:
            raise HttpError(
                422, f"Row {at} must be a list of {width} values, one for each feature."
            )
        if len(row) != width:
            raise wrong_width(at, len(row), width)


def wrong_width(at: int, given: int, width: int) -> HttpError:
    """What to raise for a row of another length than the model's."""
    return HttpError(422, f"Row {at} has {given} values; the model takes {width} features.")


def no_names() -> HttpError:
    """What to raise for records when there are no names to read them by."""
    return HttpError(
        422, "The model does not know its features by name: send each row as a list of values."
    )


def only(tensors: Sequence[Tensor], name: str) -> Tensor:
    """The one tensor that a model with one input takes, whatever it is called.

    Raises:
        HttpError: 422, there are none or several.
    """
    if len(tensors) != 1:
        raise HttpError(422, f"The model takes one input, `{name}`, not {len(tensors)}.")
    return tensors[0]


def by_name(tensors: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
    """The tensors in the order of the names.

    Raises:
        HttpError: 422, one is missing or not known.
    """
    found = {tensor.name: tensor for tensor in tensors}
    for name in names:
        if name not in found:
            raise HttpError(422, f"The input `{name}` is missing.")
    unknown = next((name for name in found if name not in names), None)
    if unknown is not None:
        raise HttpError(422, f"The model has no input `{unknown[:60]}`; it has {some(names)}.")
    return [found[name] for name in names]


def some(names: Sequence[str]) -> str:
    """The names for an error, not all if they are many."""
    listed = ", ".join(f"`{name}`" for name in names[:_MOST_NAMED])
    rest = len(names) - _MOST_NAMED
    return f"{listed} and {rest} more" if rest > 0 else listed


def _misfit(rows: list[Any], names: Sequence[str]) -> HttpError:
    known = set(names)
    for at, row in enumerate(rows):
        if type(row) is not dict:
            return HttpError(422, f"Row {at} must be an object, like the rows before it.")
        missing = next((name for name in names if name not in row), None)
        if missing is not None:
            return HttpError(422, f"Row {at} lacks the feature `{missing}`.")
        unknown = next((name for name in row if name not in known), None)
        if unknown is not None:
            known_names = some(names)
            return HttpError(
                422, f"Row {at}: the model has no feature `{unknown[:60]}`; it has {known_names}."
            )
    return HttpError(422, "The rows do not fit the model's features.")
