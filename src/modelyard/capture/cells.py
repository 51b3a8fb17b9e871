"""The typed columns of a file: names and types for the cells of rows.

In a file an input `age` is the column `input:age`, and one that is a time `input@age`: files have
different columns, and those of one name must have types that one question can take together.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import orjson

from modelyard.capture.rows import Cells
from modelyard.domain.columns import LONGEST_NAME, MOST_COLUMNS, ColumnType, Declared

SIDES = ("input", "output")
PLAIN, MOMENT = ":", "@"
"""Between the side and the name of a column."""
LONGEST_TEXT = 10_000
"""Characters of a cell that is a text, or JSON; longer ones are only in the body."""
_MOST_CELLS = 20_000_000
"""Empty ones included: many rows with many columns that few of them have are not all typed."""
_ALWAYS = 100
"""Columns that there may be however many rows there are."""
_NUMBERS = {ColumnType.BIGINT, ColumnType.DOUBLE}


class Side:
    """The inputs, or the outputs, of all rows of one file.

    Args:
        name: One of `SIDES`.
        declared: By the image.
    """

    def __init__(self, name: str, declared: Declared) -> None:
        self._name = name
        self._declared = declared
        self._keys: dict[str, str] = {}
        self._kinds: dict[str, ColumnType] = {}
        self._filled: dict[str, int] = defaultdict(int)

    def keep(self, cells: Cells) -> Cells:
        """A row's cells as they are to be written: under short keys, without those that are none.

        Values that are not of the type that is declared are none.
        """
        kept = {}
        for name, value in cells.items():
            declared = self._declared.type_of(name)
            if self._declared.closed and name and name not in self._declared.named:
                continue
            kind, value = _typed(value) if declared is None else _fitted(value, declared)
            if kind is None:
                continue
            key = self._keys.get(name)
            if key is None:
                key = self._keys[name] = f"{self._name[0]}{len(self._keys)}"
            known = self._kinds.get(key)
            if known is not kind:
                self._kinds[key] = kind if known is None else _wider(known, kind)
            self._filled[key] += 1
            kept[key] = value
        return kept

    def columns(self, rows: int) -> list[tuple[str, str, ColumnType]]:
        """Key, name in the file and type of each column; those with most cells, if too many.

        Args:
            rows: How many there are in the file.
        """
        most = min(MOST_COLUMNS, max(_ALWAYS, _MOST_CELLS // max(rows, 1)))
        by_cells = sorted(self._keys.items(), key=lambda item: -self._filled[item[1]])
        chosen = {key for _, key in by_cells[:most]}
        taken: set[str] = set()
        found = []
        for name, key in self._keys.items():
            if key in chosen:
                kind = self._kinds[key]
                mark = MOMENT if kind is ColumnType.TIMESTAMPTZ else PLAIN
                found.append((key, f"{self._name}{mark}{_free(name, taken)}", kind))
        return found


def _free(name: str, taken: set[str]) -> str:
    """A name that no other column has: to SQL upper and lower case are the same."""
    clean = "".join(c if c.isprintable() else "_" for c in name[:LONGEST_NAME])
    free, number = clean, 1
    while free.casefold() in taken:
        number += 1
        free = f"{clean}_{number}"
    taken.add(free.casefold())
    return free


def _typed(value: Any) -> tuple[ColumnType | None, Any]:
    """A value and its type; no type where there is no cell."""
    if isinstance(value, bool):
        return ColumnType.BOOLEAN, value
    if isinstance(value, int):
        if value.bit_length() < 64:
            return ColumnType.BIGINT, value
        return ColumnType.DOUBLE, float(value)
    if isinstance(value, float):
        return ColumnType.DOUBLE, value
    if isinstance(value, list | dict):
        try:
            value = orjson.dumps(value).decode()
        except TypeError:  # too deep
            return None, None
    if isinstance(value, str) and len(value) <= LONGEST_TEXT:
        return ColumnType.VARCHAR, value
    return None, None


def _fitted(value: Any, declared: ColumnType) -> tuple[ColumnType | None, Any]:
    """A value as the type that is declared; no type where it is none of that."""
    kind, value = _typed(value)
    if kind is declared:
        return kind, value
    if kind in _NUMBERS and declared in _NUMBERS:  # integers may be declared too narrowly
        return ColumnType.DOUBLE, value
    if kind is ColumnType.VARCHAR and declared is ColumnType.TIMESTAMPTZ:
        return _moment(value)
    return None, None


def _moment(text: str) -> tuple[ColumnType | None, Any]:
    """Microseconds since 1970; a time without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return ColumnType.TIMESTAMPTZ, round(zoned.timestamp() * 1e6)
    except (ValueError, OverflowError):
        return None, None


def _wider(one: ColumnType, other: ColumnType) -> ColumnType:
    return ColumnType.DOUBLE if {one, other} == _NUMBERS else ColumnType.VARCHAR
