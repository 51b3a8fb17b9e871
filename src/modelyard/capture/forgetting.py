"""`python -m modelyard.capture.forgetting`: writes files of records anew, without some of them.

It reads a `Forgetting` from stdin and tells of each new file in a line of stdout, a `Rewritten`.
Where no record has such a field, it ends with the status `NO_FIELD`.
The files themselves stay as they are: whoever asked puts the new ones in their places.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from modelyard.capture import rewriting
from modelyard.capture.encrypting import ENCRYPTED, Decryption, Undecipherable
from modelyard.capture.jobs import NO_FIELD, Forgetting, Rewritten
from modelyard.capture.reading import literal
from modelyard.capture.sealing import FEEDBACK, ROW, SCRIPT
from modelyard_runtime.capture.rules import Rules, Unreadable, hash_value

_BATCH = 1000
_GATEWAY, _WORKER = "gateway", "worker"


class NoSuchField(Exception):
    """There are records, and none has the field."""


class _Search(Rules):
    """Looks for one value of a field, in the clear, hashed or encrypted."""

    __slots__ = ("_decryption", "_wanted", "found", "has_field")

    def __init__(self, field: str, value: Any, key: bytes, decryption: Decryption | None) -> None:
        super().__init__((), (field,), key)
        self._wanted = hash_value(value, key)
        self._decryption = decryption
        self.found = False
        self.has_field = False
        """Whether any document has had it, whatever its value."""

    def verb(self, path: tuple[str, ...]) -> str:
        verb = super().verb(path)
        self.has_field = self.has_field or bool(verb)
        return verb

    def stand_in(self, value: Any, verb: str) -> Any:
        del verb
        values = (value, hash_value(self._plain(value), self._key))
        self.found = self.found or self._wanted in values
        return value

    def _plain(self, value: Any) -> Any:
        if self._decryption and isinstance(value, str) and value.startswith(ENCRYPTED):
            with suppress(Undecipherable):  # a caller's own text, or of another `master.key`
                return self._decryption.decrypt(value)
        return value

    def is_in(self, document: str | None) -> bool:
        """Whether the value is in a document."""
        self.found = False
        if document is not None:
            try:
                self.body(document.encode(), is_input=False)
            except Unreadable:
                return self.found
        return self.found


def forget(job: Forgetting) -> Iterator[Rewritten]:
    """Write each file anew that has records of the value.

    A record goes with all that was recorded of the same request.

    Raises:
        NoSuchField: No record has the field: it was misspelled, or a rule has dropped it.
    """
    decryption = Decryption(bytes.fromhex(job.decryption)) if job.decryption else None
    search = _Search(job.field, job.value, bytes.fromhex(job.key), decryption)
    with rewriting.connect(job.folder) as connection:
        places: dict[Path, list[int]] = {}
        predictions: set[str] = set()
        by_gateway: set[str] = set()
        for path in job.files:
            for place, prediction, *documents in _records(connection, path):
                if any(map(search.is_in, documents)):
                    places.setdefault(path, []).append(place)
                    predictions |= set() if prediction is None else {prediction}
        if not search.has_field:
            raise NoSuchField
        connection.execute(
            "CREATE TABLE going AS SELECT unnest($1::VARCHAR[]) AS id", [[*predictions]]
        )
        for path in job.files:
            by_gateway |= _going(connection, path, _GATEWAY)
        for path in job.files:
            rewritten = _rewrite(connection, job.folder, path, places.get(path, []), by_gateway)
            if rewritten is not None:
                yield rewritten


def _records(connection: duckdb.DuckDBPyConnection, path: Path) -> Iterator[tuple[Any, ...]]:
    found = connection.cursor().execute(
        "SELECT file_row_number, prediction_id, inputs::VARCHAR, outputs::VARCHAR "
        "FROM read_parquet($1, file_row_number = true) WHERE recorded_by <> $2",
        [literal(path), ROW],
    )
    while rows := found.fetchmany(_BATCH):
        yield from rows


def _going(connection: duckdb.DuckDBPyConnection, path: Path, recorded_by: str) -> set[str]:
    """Requests that a file has records of, which go."""
    rows = connection.execute(
        "SELECT DISTINCT prediction_id FROM read_parquet($1) "
        "WHERE prediction_id IN (SELECT id FROM going) AND recorded_by = $2",
        [literal(path), recorded_by],
    ).fetchall()
    return {row[0] for row in rows}


def _rewrite(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    path: Path,
    places: list[int],
    by_gateway: set[str],
) -> Rewritten | None:
    by_worker = _going(connection, path, _WORKER)
    told = _going(connection, path, _GATEWAY)
    beside = [_going(connection, path, recorded_by) for recorded_by in (SCRIPT, FEEDBACK)]
    if not (places or by_worker or told or any(beside)):
        return None
    kept = connection.sql(
        "SELECT * EXCLUDE file_row_number FROM read_parquet($1, file_row_number = true) "
        "WHERE file_row_number NOT IN (SELECT unnest($2::BIGINT[])) "
        "AND (prediction_id IS NULL OR prediction_id NOT IN (SELECT id FROM going))",
        params=[literal(path), places],
    )
    size, digest = rewriting.write(kept, folder / path.name)
    counted = connection.execute(
        "SELECT count(*) FILTER (recorded_by <> $4), "
        "count(DISTINCT prediction_id) FILTER (recorded_by IN ($2, $3)) FROM read_parquet($1)",
        [literal(folder / path.name), _WORKER, _GATEWAY, ROW],
    ).fetchone()
    rows, requests = counted or (0, 0)
    return Rewritten(
        name=path.stem,
        size=size,
        digest=digest,
        rows=rows,
        requests=requests,
        forgotten=len(told | (by_worker - by_gateway)),
    )


if __name__ == "__main__":
    try:
        for one in forget(Forgetting.model_validate_json(sys.stdin.buffer.read())):
            sys.stdout.write(f"{one.model_dump_json()}\n")
    except NoSuchField:
        sys.exit(NO_FIELD)
