"""How the rows of several requests become one call of a `run` that is `@batchable`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from modelyard_runtime.script import BatchMark
from modelyard_runtime.signature import Arguments, Batching

_HASHABLE = (str, int, float, bool, bytes, type(None))


class RowBatching(Batching):
    """Joins the rows of one parameter; the others must be the same in all requests of a call.

    Args:
        parameter: The one with the rows.
        mark: The limits that the script has set.
    """

    def __init__(self, parameter: str, mark: BatchMark) -> None:
        self._parameter = parameter
        self.max_rows = mark.max_rows
        self.max_wait = mark.max_wait

    def rows(self, arguments: Arguments) -> int:
        """Rows of one request; 0 where another parameter has a value that cannot be compared."""
        if len(arguments) > 1 and not self._are_plain(arguments):
            return 0
        return self._count(arguments[self._parameter])

    def key(self, arguments: Arguments) -> Any:
        """The outline of the rows, and the other parameters."""
        outline = self._outline(arguments[self._parameter])
        if len(arguments) == 1:
            return outline
        return outline, *((name, type(v), v) for name, v in self._others(arguments))

    def join(self, calls: Sequence[Arguments]) -> Arguments:
        """The rows of all, one after the other."""
        name = self._parameter
        return {**calls[0], name: self._concatenated([call[name] for call in calls])}

    def split(self, result: Any, rows: Sequence[int]) -> list[Any]:
        """The answers of each request."""
        if not hasattr(result, "__len__") or isinstance(result, str | bytes | dict):
            kind = type(result).__name__
            raise ValueError(f"a batchable `run` returns one answer for each row, and not `{kind}`")
        if len(result) != sum(rows):
            raise ValueError(f"`run` got {sum(rows)} rows and returned {len(result)} answers")
        result = getattr(result, "iloc", result)  # of a data frame or series: by position
        parts, begin = [], 0
        for count in rows:
            parts.append(result[begin : begin + count])
            begin += count
        return parts

    @abstractmethod
    def _count(self, value: Any) -> int: ...

    @abstractmethod
    def _outline(self, value: Any) -> Any: ...

    @abstractmethod
    def _concatenated(self, values: list[Any]) -> Any: ...

    def _others(self, arguments: Arguments) -> list[tuple[str, Any]]:
        return [(name, v) for name, v in arguments.items() if name != self._parameter]

    def _are_plain(self, arguments: Arguments) -> bool:
        return all(isinstance(value, _HASHABLE) for _, value in self._others(arguments))


class ListBatching(RowBatching):
    """Rows in a list."""

    def _count(self, value: Any) -> int:
        return len(value)

    def _outline(self, value: Any) -> Any:
        return None

    def _concatenated(self, values: list[Any]) -> Any:
        return [row for value in values for row in value]
