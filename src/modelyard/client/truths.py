"""Truths in files, and in requests that are not too long."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from modelyard.capture.reading import literal
from modelyard.errors import InvalidRequest, NotFound

_MOST = 1000
_LARGEST = 512 << 10
"""Of one request: truths and bytes."""


def read_truths(path: Path) -> Iterator[dict[str, Any]]:
    """What a file tells: `prediction_id`, `truth` and maybe `row` of each.

    Args:
        path: `.csv` with these columns, in which a truth is JSON, or else a text, and an empty one
            is not known; `.jsonl` with such an object in each line; or `.parquet`.

    Raises:
        NotFound: There is no such file.
        InvalidRequest: It is none of these, or empty.
    """
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    reader = readers.get(path.suffix)
    if reader is None:
        raise InvalidRequest(
            f"`{path}` ends in none of {', '.join(readers)}", hint="name such a file"
        )
    if not path.is_file():
        raise NotFound(f"there is no file `{path}`", hint="name one that is there")
    number = 0
    for number, told in enumerate(reader(path), 1):
        if not isinstance(told, dict) or not {"prediction_id", "truth"} <= told.keys():
            raise InvalidRequest(
                f"entry {number} of `{path}` has no `prediction_id` and `truth`{_found(told)}",
                hint="each has both, and may have a `row`",
            )
        if told["truth"] is not None and told["truth"] == told["truth"]:  # and no NaN
            yield {name: told[name] for name in _NAMES if told.get(name) not in (None, "")}
    if not number:
        raise InvalidRequest(f"there is no truth in `{path}`", hint="give a file that has some")


def _found(told: Any) -> str:
    """What an entry has instead."""
    if not isinstance(told, dict) or not told:
        return ""
    names = ", ".join(f"`{str(name)[:100]}`" for name in list(told)[:10])
    return f"; it has {names}"


_NAMES = ("prediction_id", "truth", "row")


def batches(told: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Bodies of requests with all of these.

    Raises:
        InvalidRequest: A truth is nothing that JSON has a word for.
    """
    some: list[bytes] = []
    count = size = 0
    for one in told:
        encoded = _encoded(one)
        truth = one.get("truth")
        is_array = bool(getattr(truth, "shape", None))
        rows = len(truth) if truth is not None and (isinstance(truth, list) or is_array) else 1
        if some and (count + rows > _MOST or size + len(encoded) > _LARGEST):
            yield _body(some)
            some, count, size = [], 0, 0
        some.append(encoded)
        count, size = count + rows, size + len(encoded)
    if some:
        yield _body(some)


def _plain(value: Any) -> Any:
    """What JSON has no word for: numbers and arrays of numpy, columns of pandas, numbers of
    databases, times.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | time | timedelta | UUID) and value == value:  # no NaT
        return str(value)
    listed = getattr(value, "tolist", None)
    if listed is None:
        raise TypeError(f"a `{type(value).__name__}` is not JSON")
    return listed()


def _encoded(told: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(told), default=_plain, allow_nan=False).encode()
    except (ValueError, TypeError) as error:  # of a circle, too
        is_nan = "Out of range" in str(error)
        why = "NaN and infinity are no JSON" if is_nan else str(error)
        raise InvalidRequest(
            f"the truth of `{str(told.get('prediction_id'))[:100]}` cannot be told: {why}",
            hint="give numbers, texts, lists or objects; None, or nothing, where it is not known",
        ) from None


def _body(some: list[bytes]) -> bytes:
    return b'{"feedback":[' + b",".join(some) + b"]}"


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for told in csv.DictReader(file):
            row, truth = told.get("row"), told.get("truth")
            found: dict[str, Any] = dict(told)
            if row:
                found["row"] = _whole(row, path)
            if "truth" in told:
                found["truth"] = _value(truth) if truth else None
            yield found


def _jsonl(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InvalidRequest(
                    f"line {number} of `{path}` is no JSON: {error}", hint="each line is an object"
                ) from None


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import duckdb

    try:
        with duckdb.connect() as connection:
            found = connection.execute("SELECT * FROM read_parquet($1)", [literal(path)])
            names = [column[0] for column in found.description or ()]
            while rows := found.fetchmany(_MOST):
                for row in rows:
                    yield dict(zip(names, row, strict=True))
    except duckdb.Error as error:
        raise InvalidRequest(
            f"`{path}` cannot be read as Parquet: {str(error).strip()}", hint="give another file"
        ) from None


def _whole(text: str, path: Path) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidRequest(
            f"`{text[:50]}` in `{path}` is not the number of a row", hint="rows count from 0"
        ) from None


def _value(text: str) -> Any:
    """JSON, or else the text."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(word: str) -> Any:
    raise ValueError(word)
