"""`collect`: what a script adds to the record of the request that it is answering.

It is stored where that request is recorded, and costs next to nothing where it is not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from modelyard_runtime.capture.records import Collected
from modelyard_runtime.capture.rules import Unreadable
from modelyard_runtime.capture.spool import Bounds, Spool
from modelyard_runtime.capture.wanted import Wanted

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_LONGEST_NAME = 200


class _Sink:
    """Where this worker puts it; scripts may call from any thread."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.writer = ""
        self._spool: Spool | None = None
        self._lock = Lock()

    def add(self, record: Collected, bounds: Bounds) -> bool:
        with self._lock:
            if self.folder is None:
                return False
            if self._spool is None:
                self._spool = Spool(self.folder, self.writer)
            self._spool.bounds = bounds
            return self._spool.add_collected(record)

    def tick(self, *, close: bool = False) -> None:
        with self._lock:
            if self._spool is not None:
                (self._spool.close if close else self._spool.tick)()


_current: ContextVar[Answering | None] = ContextVar("answering", default=None)
sink = _Sink()
"""Of this process; the worker says where it is."""


class Answering:
    """While it is entered, what is collected belongs to one answer.

    Args:
        prediction: The id of the answer; empty: it belongs to several at once.
        wanted: How the request is recorded.
    """

    __slots__ = ("_token", "prediction", "wanted")

    def __init__(self, prediction: bytes, wanted: Wanted | None) -> None:
        self.prediction = prediction
        self.wanted = wanted

    def __enter__(self) -> None:
        self._token = _current.set(self)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def is_wanted() -> bool:
    """Whether what is collected now is stored."""
    request = _current.get()
    return request is not None and request.wanted is not None and sink.folder is not None


def prediction_id() -> str:
    """The id of the answer in the making; empty where it is not recorded."""
    request = _current.get()
    return request.prediction.decode("latin-1") if request else ""


def collect(name: str, data: Any) -> bool:
    """Store rows beside the record of the request that is being answered.

    Args:
        name: What they are, such as `inputs`; `collected` has it in its column `name`.
        data: A data frame, an array (one dimension is one row), a dictionary of columns, a list of
            dictionaries, or a list of values, which is one row.

    Returns:
        Whether they were stored: False where the request is not recorded, there is no room, they
        are more than 64 MiB of JSON, or a rule of the service cannot be applied to them.

    Raises:
        TypeError: `data` is none of these.
    """
    if not is_wanted():
        return False
    return collect_rows(name, list(_rows(data)))


def collect_rows(name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """The same for rows that are dictionaries."""
    request = _current.get()
    if request is None or request.wanted is None:
        return False
    document = orjson.dumps(rows, str, _OPTIONS)
    rules = request.wanted.rules
    if rules is not None:
        try:
            document = rules.body(document, is_input=False)
        except Unreadable:
            return False
    record = Collected(time.time_ns() // 1000, prediction_id(), name[:_LONGEST_NAME], document)
    try:
        return sink.add(record, request.wanted.bounds)
    except OSError as error:
        sys.stderr.write(f"modelyard: what is collected cannot be stored: {error}\n")
        return False


def _rows(data: Any) -> Iterable[dict[str, Any]]:
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        rows: list[dict[str, Any]] = data.to_dict("records")
        return rows
    if isinstance(data, Mapping):
        names = [str(name) for name in data]
        return [dict(zip(names, row, strict=True)) for row in zip(*data.values(), strict=True)]
    if hasattr(data, "ndim") and hasattr(data, "tolist"):
        listed = data.tolist()
        return [named(row) for row in (listed if data.ndim > 1 else [listed])]
    if isinstance(data, list | tuple):
        if data and all(isinstance(row, Mapping) for row in data):
            return [dict(row) for row in data]
        return [named(data)]
    kind = type(data).__name__
    raise TypeError(f"collect: data must be a data frame, an array, a dictionary or a list: {kind}")


def named(values: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """A row as a dictionary; values beyond the names are `x` and their number."""
    row = list(values) if isinstance(values, list | tuple) else [values]
    return {names[n] if n < len(names) else f"x{n}": value for n, value in enumerate(row)}
