"""`python -m modelyard.capture.sealing`: turns closed segments into Parquet files.

It reads a `Job` from stdin. Each segment becomes one file for each deployment and day in it, under
names that follow from the segment's alone, beside a `domain.captured.Segment` in JSON; then the
segment goes. Killed anywhere and started again, it writes the same files again.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import orjson

from modelyard.capture.cells import SIDES, Side
from modelyard.capture.damaged import keep_damaged
from modelyard.capture.jobs import Job, KnownDeployment, OpenSegment
from modelyard.capture.rows import rows_of
from modelyard.domain.captured import UNKNOWN_MODEL, Segment
from modelyard.domain.columns import Columns
from modelyard.domain.values import Reference
from modelyard.files import replace_file
from modelyard_runtime.capture.records import Answered, Collected, Told, decode
from modelyard_runtime.capture.segments import ENDING, open_closed, read_records

SCRIPT = "script"
"""What `recorded_by` says of rows that a script has collected: `code` is their name."""
FEEDBACK = "feedback"
"""The same of what turned out to be true of a `row`: `outputs` is the truth."""
ROW = "row"
"""What it says of a row that was scored, made from a record: `code` is who has recorded that."""
RECORD_COLUMNS = {
    "time": "TIMESTAMPTZ",
    "prediction_id": "VARCHAR",
    "request_id": "VARCHAR",
    "key_id": "VARCHAR",
    "service": "VARCHAR",
    "deployment": "VARCHAR",
    "image": "VARCHAR",
    "model": "VARCHAR",
    "version": "INTEGER",
    "replica": "VARCHAR",
    "recorded_by": "VARCHAR",
    "path": "VARCHAR",
    "status": "SMALLINT",
    "seconds": "DOUBLE",
    "code": "VARCHAR",
    "inputs": "JSON",
    "input_type": "VARCHAR",
    "input_size": "BIGINT",
    "input_bytes": "BLOB",
    "outputs": "JSON",
    "output_type": "VARCHAR",
    "output_size": "BIGINT",
    "output_bytes": "BLOB",
    "withheld": "VARCHAR",
    "row": "INTEGER",
    "attempt": "UTINYINT",
}
"""The columns of every file, and their types; those of typed rows come behind them."""

LARGEST = 256 << 20
"""Bytes of a segment; our own are closed long before, but a script can write beside them."""
MOST_FILES = 100
"""Files that one segment becomes."""
_Record = Answered | Collected | Told
_OF_THE_HOST = (OSError, MemoryError, duckdb.IOException, duckdb.OutOfMemoryException)
_LOCK = ".lock"
_FAILURE = 400
_READ_AS = {"JSON": "VARCHAR", "BLOB": "VARCHAR", "TIMESTAMPTZ": "BIGINT"}
_CONVERT = {
    "JSON": "{0}::JSON",
    "BLOB": "from_base64({0})",
    "TIMESTAMPTZ": "make_timestamptz({0})",
}


def seal_all(job: Job) -> None:
    """Seal every segment that is closed, once no other process does."""
    with (job.outbox / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one that has outlived its agent may still be at work
        _sweep(job.outbox)
        _seal_each(job)


def _sweep(outbox: Path) -> None:
    """Remove what a killed one has left, and files whose manifest was sent."""
    for path in outbox.iterdir():
        is_partial = path.name.startswith(".") and path.name != _LOCK
        is_stray = path.suffix == ".parquet" and not path.with_suffix(".json").exists()
        if is_partial or is_stray:
            path.unlink(missing_ok=True)


def _seal_each(job: Job) -> None:
    for segment in job.segments:
        fd = open_closed(segment.path)
        if fd is None:
            continue  # it is written again, or has been thrown away
        try:
            if not _seal_somehow(job, segment, fd):
                name = segment.path.name.removesuffix(ENDING)
                keep_damaged(segment.path, job.outbox, f"{name}-{segment.source}")
                continue
            segment.path.unlink(missing_ok=True)
        finally:
            os.close(fd)


def _seal_somehow(job: Job, segment: OpenSegment, fd: int) -> bool:
    """Seal one segment; False: its records cannot be, and must not hold up all others."""
    if os.fstat(fd).st_size > LARGEST:
        sys.stderr.write(f"{segment.path}: it is longer than {LARGEST} bytes\n")
        return False
    for how in _Bodies:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            _seal(job, segment, fd, how)
        except _OF_THE_HOST:
            raise  # the records are not to blame
        except Exception as error:  # whatever a stranger's bytes have caused
            sys.stderr.write(f"{segment.path}: {error}\n")
        else:
            return True
    return False


def _seal(job: Job, segment: OpenSegment, fd: int, how: _Bodies) -> None:
    groups: dict[tuple[str, date], list[_Record]] = defaultdict(list)
    for record in _records(fd):
        day = datetime.fromtimestamp(record.at / 1e6, UTC).date()
        told = record.deployment if isinstance(record, Answered) else ""
        groups[segment.deployment or told, day].append(record)
    if len(groups) > MOST_FILES:
        raise ValueError(f"its records are of {len(groups)} deployments and days")
    name = segment.path.name.removesuffix(ENDING)
    for number, ((deployment, day), records) in enumerate(sorted(groups.items())):
        known = job.deployments.get(deployment) or _latest(job, segment.service)
        common = _common(segment, deployment, known)
        sheet = _Sheet(segment, known.columns if known else Columns(), how)
        target = f"{name}-{segment.source}-{number}"
        written = _write_parquet(job.outbox, target, sheet, records, common)
        if written is None:
            continue
        times = [record.at for record in records]
        sealed = Segment(
            name=target,
            service=segment.service,
            service_name=segment.service_name,
            model=common["model"],
            version=common["version"],
            image=common["image"] or "",
            date=day,
            rows=sheet.records,
            requests=len({r.prediction for r in records if isinstance(r, Answered)}),
            first=datetime.fromtimestamp(min(times) / 1e6, UTC),
            last=datetime.fromtimestamp(max(times) / 1e6, UTC),
            size=written[0],
            digest=written[1],
        )
        replace_file(job.outbox / f"{target}.json", sealed.model_dump_json())


def _records(fd: int) -> Iterator[_Record]:
    for payload in read_records(fd):
        try:
            record = decode(payload)
        except ValueError:
            continue  # whole, and yet no record: a script can write here, too
        if isinstance(record, _Record):
            yield record


def _latest(job: Job, service: UUID) -> KnownDeployment | None:
    """What stands for a request that no deployment has answered: the newest of the service."""
    own = [known for known in job.deployments.values() if known.service == service]
    return own[-1] if own else None


def _common(segment: OpenSegment, deployment: str, known: KnownDeployment | None) -> dict[str, Any]:
    """What all records of one deployment share."""
    model = Reference.parse(known.model) if known and known.model else Reference(UNKNOWN_MODEL, 0)
    return {
        "service": segment.service_name,
        "deployment": deployment or None,
        "image": known.image if known else None,
        "model": model.name,
        "version": model.version or 0,
    }


class _Bodies(Enum):
    """How bodies are sealed: each is tried when the one before has failed."""

    TYPED = "as JSON, and their rows typed"
    JSON = "as JSON"
    BYTES = "as bytes"  # what is JSON to one parser may be none to another


class _Sheet:
    """What one file is to hold: lines for records, and for the rows that they were about."""

    def __init__(self, segment: OpenSegment, columns: Columns, how: _Bodies) -> None:
        self._segment = segment
        self._how = how
        self._declared = columns.inputs
        self._inputs, self._outputs = map(Side, SIDES, (columns.inputs, columns.outputs))
        self.records = 0
        self._rows = 0

    def lines(self, record: _Record) -> Iterator[dict[str, Any]]:
        """All that a record becomes."""
        if isinstance(record, Collected):
            for line in _collected(self._segment, record):
                self.records += 1
                yield line
            return
        self.records += 1
        if isinstance(record, Told):
            yield _told(record, as_bytes=self._how is _Bodies.BYTES)
        else:
            yield from self._answered(record)

    def _answered(self, record: Answered) -> Iterator[dict[str, Any]]:
        as_bytes = self._how is _Bodies.BYTES
        given, input_body = _body("input", record.input, as_bytes)
        answer, output_body = _body("output", record.output, as_bytes)
        yield {
            **self._about(record),
            "request_id": record.request or record.prediction,
            "key_id": record.key or None,
            "recorded_by": self._writer,
            "path": record.path,
            "status": record.status,
            "seconds": record.seconds,
            "code": record.code or None,
            "withheld": record.withheld or None,
            "input_type": record.input_type or None,
            "input_size": record.input_size,
            "output_type": record.output_type or None,
            "output_size": record.output_size,
            **input_body,
            **output_body,
        }
        if self._how is _Bodies.TYPED:
            yield from self._typed(record, given, answer)

    def _typed(self, record: Answered, given: Any, answer: Any) -> Iterator[dict[str, Any]]:
        shared = {**self._about(record), "recorded_by": ROW, "code": self._writer}
        scored = answer if record.status < _FAILURE else None
        for number, (inputs, outputs) in enumerate(rows_of(given, scored, self._declared)):
            self._rows += 1
            yield {
                **shared,
                "row": number,
                **self._inputs.keep(inputs),
                **self._outputs.keep(outputs),
            }

    @property
    def _writer(self) -> str:
        return "worker" if self._segment.replica else "gateway"

    def _about(self, record: Answered) -> dict[str, Any]:
        return {
            "time": record.at,
            "prediction_id": record.prediction,
            "replica": self._segment.replica or record.replica or None,
            "attempt": record.attempt,
        }

    def columns(self) -> list[tuple[str, str, str]]:
        """Key in the lines, name and type of each column, once all lines are written."""
        own = [(name, name, kind) for name, kind in RECORD_COLUMNS.items()]
        return own + self._inputs.columns(self._rows) + self._outputs.columns(self._rows)


def _told(record: Told, *, as_bytes: bool) -> dict[str, Any]:
    _, body = _body("output", record.truth, as_bytes)
    return {
        "time": record.at,
        "prediction_id": record.prediction,
        "key_id": record.key or None,
        "recorded_by": FEEDBACK,
        "row": record.row,
        "output_type": "application/json",
        "output_size": len(record.truth),
        **body,
    }


def _collected(segment: OpenSegment, record: Collected) -> Iterator[dict[str, Any]]:
    """What a script has collected: a row each."""
    try:
        rows = orjson.loads(record.rows)
    except ValueError:
        return
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            yield {
                "time": record.at,
                "prediction_id": record.prediction or None,
                "replica": segment.replica or None,
                "recorded_by": SCRIPT,
                "code": record.name,
                "inputs": orjson.dumps(row).decode(),
            }


def _body(name: str, body: bytes | None, as_bytes: bool) -> tuple[Any, dict[str, Any]]:
    """What JSON says, None for none; and a body as JSON if it is that, else as bytes."""
    parsed, document = (None, None) if as_bytes else _json(body)
    raw = base64.b64encode(body).decode() if body and document is None else None
    return parsed, {f"{name}s": document, f"{name}_bytes": raw}


def _json(body: bytes | None) -> tuple[Any, str | None]:
    if body is None:
        return None, None
    try:
        return orjson.loads(body), body.decode()
    except ValueError:
        return None, None


def _write_parquet(
    folder: Path,
    name: str,
    sheet: _Sheet,
    records: Iterable[_Record],
    common: Mapping[str, Any],
) -> tuple[int, str] | None:
    """Write a file; the same records give the same bytes. Returns its size and digest.

    None: there is nothing to be written.
    """
    part = folder / f".{name}.part"
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".rows-", suffix=".json") as file:
        for record in records:
            for line in sheet.lines(record):
                file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if not sheet.records:
            return None
        file.flush()
        columns = sheet.columns()
        read = {key: _READ_AS.get(kind, kind) for key, _, kind in columns if key not in common}
        chosen = ", ".join(
            f"{_value(key, kind, common)} AS {identifier(name)}" for key, name, kind in columns
        )
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            source = connection.read_json(
                file.name, columns=read, format="newline_delimited", maximum_object_size=128 << 20
            )
            source.project(chosen).write_parquet(str(part), compression="zstd", overwrite=True)
    return finished(part, folder / f"{name}.parquet")


def _value(key: str, kind: str, common: Mapping[str, Any]) -> str:
    """SQL for the value of a column: what all lines share is no part of them."""
    if key not in common:
        return _CONVERT.get(kind, "{0}").format(key)
    shared = common[key]
    literal = "NULL" if shared is None else "'{}'".format(str(shared).replace("'", "''"))
    return f"{literal}::{kind}"


def identifier(name: str) -> str:
    """A name as SQL takes it."""
    return '"{}"'.format(name.replace('"', '""'))


def finished(part: Path, target: Path) -> tuple[int, str]:
    """Give a file its name once it is on the disk; its size and digest."""
    found = _digest(part)
    part.replace(target)
    return found


def _digest(path: Path) -> tuple[int, str]:
    """Size and digest of a file, once it is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), f"sha256:{digest}"


if __name__ == "__main__":
    seal_all(Job.model_validate_json(sys.stdin.buffer.read()))
