"""The rows that a request brought and what each was answered, out of bodies of every protocol.

A row is a dictionary of cells by name; a value that has a place instead of a name is named by it,
from `0`, and an answer that is one value has the empty name. Bodies are strangers': whatever they
are, there are rows or none, and never an error. The work is linear in their length.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import orjson

from modelyard.domain.columns import MOST_COLUMNS, Declared

Cells = dict[str, Any]

_ENVELOPES = (
    "data",
    "inputs",
    "Inputs",
    "instances",
    "dataframe_records",
    "dataframe_split",
    "input_data",
)
"""Members that rows are in."""
_DEEPEST = 5
"""Envelopes in each other, texts that are JSON themselves among them."""


def rows_of(given: Any, answer: Any, declared: Declared) -> list[tuple[Cells, Cells]]:
    """Inputs and outputs of each row.

    Args:
        given: The body as it was parsed; None: there is none to read, and the answer alone tells
            of rows.
        answer: That of the answer; None: there is none, as after a failure.
        declared: Of the inputs: names of values that come without.
    """
    answer = _opened_answer(_parsed(answer))
    if given is None:
        outputs = _tensor_rows(answer, is_input=False)
        if outputs is None:
            each = answer if isinstance(answer, list) else [] if answer is None else [answer]
            outputs = [_answer_cells(one) for one in each]
        return [({}, cells) for cells in outputs]
    many = len(answer) if isinstance(answer, list) else -1
    inputs = _inputs(given, many, tuple(declared.named))
    outputs = _outputs(answer, len(inputs))
    return list(zip(inputs, outputs, strict=True))


def _inputs(document: Any, answers: int, names: tuple[str, ...]) -> list[Cells]:
    document = _opened(document)
    tensors = _tensor_rows(document, is_input=True, names=names)
    if tensors is not None:
        return tensors
    if isinstance(document, dict):
        columns, rows = document.get("columns"), document.get("data")
        if isinstance(columns, list) and isinstance(rows, list):
            return [_cells(row, tuple(map(str, columns))) for row in rows]
        return [_cells(document, names)]
    if not isinstance(document, list):
        return [_cells(document, names)]
    if any(isinstance(item, list | dict) for item in document):
        return [_cells(item, names) for item in document]
    if len(document) == answers:  # a value each
        return [_cells(item, names) for item in document]
    return [_cells(document, names)] if document else []


def _opened(document: Any) -> Any:
    """A body without what rows are wrapped in: a list, a table, tensors, or one object."""
    for depth in range(_DEEPEST):
        document = _parsed(document)
        if not isinstance(document, dict) or _is_table(document):
            return document
        inside = next(
            (
                document[name]
                for name in _ENVELOPES
                if isinstance(_parsed(document.get(name)), list | dict)
            ),
            None,
        )
        if inside is None:
            values = list(document.values())
            if len(values) == 1 and _holds_rows(values[0]):
                return values[0]
            return _turned(document) if depth else document
        document = inside
    return None


def _is_table(document: dict[str, Any]) -> bool:
    return isinstance(document.get("columns"), list) and isinstance(document.get("data"), list)


def _holds_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], list | dict)


def _turned(document: dict[str, Any]) -> Any:
    """Rows out of columns: lists of one length by name."""
    values = list(document.values())
    if not values or not all(isinstance(value, list) for value in values):
        return document
    if len(set(map(len, values))) != 1:
        return document
    return [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]


def _outputs(answer: Any, count: int) -> list[Cells]:
    """What each of so many rows was answered; nothing where that cannot be told."""
    nothing: list[Cells] = [{} for _ in range(count)]
    tensors = _tensor_rows(answer, is_input=False)
    if tensors is not None:
        return tensors if len(tensors) == count else nothing
    if isinstance(answer, list) and len(answer) == count:
        return [_answer_cells(one) for one in answer]
    if count == 1 and answer is not None:
        return [_answer_cells(answer)]
    if isinstance(answer, dict):
        rows = _turned(answer)
        if isinstance(rows, list) and len(rows) == count:
            return [_answer_cells(row) for row in rows]
    return nothing


def _opened_answer(answer: Any) -> Any:
    """An answer without an object around a list of answers."""
    for _ in range(_DEEPEST):
        if not isinstance(answer, dict) or len(answer) != 1:
            return answer
        (name,) = answer
        inside = _parsed(answer[name])
        if name == "outputs" and _are_tensors(inside):
            return answer
        if not isinstance(inside, list) and name not in ("predictions", "Results"):
            return answer
        answer = inside
    return answer


def _parsed(value: Any) -> Any:
    """What is JSON inside of a text, as scripts send it that have dumped their answer."""
    for _ in range(_DEEPEST):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
            return value
        try:
            value = orjson.loads(value)
        except ValueError:
            return value
    return value


def _cells(row: Any, names: tuple[str, ...]) -> Cells:
    """One row; without cells where it is too wide to be one of a table."""
    if isinstance(row, dict):
        return row if len(row) <= MOST_COLUMNS else {}
    if not isinstance(row, list):
        return {names[0] if len(names) == 1 else "0": row}
    if len(row) > MOST_COLUMNS:
        return {}
    if len(row) == len(names):
        return dict(zip(names, row, strict=True))
    return {str(place): value for place, value in enumerate(row)}


def _answer_cells(answer: Any) -> Cells:
    return _cells(answer, ()) if isinstance(answer, list | dict) else {"": answer}


def _are_tensors(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MOST_COLUMNS
        and all(
            isinstance(one, dict)
            and isinstance(one.get("name"), str)
            and isinstance(one.get("shape"), list)
            and isinstance(one.get("data"), list)
            for one in value
        )
    )


def _tensor_rows(
    document: Any, *, is_input: bool, names: tuple[str, ...] = ()
) -> list[Cells] | None:
    """Rows of tensors, along their first dimension; None: these are none.

    One tensor alone is rows of values that have places; of several each is a column, or as many as
    a row of it has values.
    """
    if not is_input:
        document = document.get("outputs") if isinstance(document, dict) else None
    if not _are_tensors(document):
        return None
    columns: dict[str, Sequence[Any]] = {}
    count = -1
    for tensor in document:
        shape, values = tensor["shape"], _flat(tensor["data"])
        rows = shape[0] if shape else 1
        if not isinstance(rows, int) or not 0 < rows <= len(values) or len(values) % rows:
            continue
        if count not in (-1, rows):
            continue
        count = rows
        width = len(values) // rows
        if len(columns) + width > MOST_COLUMNS:
            continue
        for place in range(width):
            name = _column_name(tensor["name"], place, width, len(document), is_input, names)
            columns[name] = values[place::width]
    if not columns:
        return [{} for _ in range(max(count, 0))]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _column_name(
    name: str, place: int, width: int, tensors: int, is_input: bool, names: tuple[str, ...]
) -> str:
    if tensors > 1 or (width == 1 and name in names):
        return name if width == 1 else f"{name}_{place}"
    if width == len(names):
        return names[place]
    return str(place) if is_input or width > 1 else ""


def _flat(values: list[Any]) -> list[Any]:
    """Values out of lists in lists, as far as a tensor may have dimensions."""
    for _ in range(_DEEPEST):
        if not values or not all(isinstance(value, list) for value in values):
            return values
        values = list(chain.from_iterable(values))
    return values
