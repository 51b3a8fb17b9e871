"""`python -m modelyard.monitoring.replaying`: scores captured requests again, and compares.

The first line of stdin is a `Replaying`; it lives as long as its stdin. It writes a line of stdout
for what was done so far, `{"requests", "different", "errors"}`, about once a second, and at the end
`{"found"}` or `{"refused"}`. What it reads and what comes back are strangers' bytes: they stay in
here, a few at a time.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import orjson

from modelyard.capture.asking import connect, make_views
from modelyard.domain.replay import Choice, Findings, Found, Recorded
from modelyard.monitoring.candidate import Candidate
from modelyard.monitoring.jobs import RECORDED, Replaying
from modelyard.monitoring.labelled import LabelledAnswers

MEMORY = 512 << 20
"""Bytes that DuckDB may use."""
ALL_MEMORY = 4 << 30
"""Bytes of address space of the whole process."""
_BATCH = 20
_TELL = 1.0
_SEED = "replay"
_ORDER = {
    Choice.NEWEST: "time DESC, prediction_id",
    Choice.RANDOM: f"md5('{_SEED}' || prediction_id)",
}
_CHOSEN = (
    "CREATE TEMP TABLE chosen AS SELECT prediction_id FROM requests "
    "WHERE ($1 IS NULL OR time >= $1) AND ($2 IS NULL OR time < $2) ORDER BY {order} LIMIT $3"
)
_READ = (
    f"SELECT {RECORDED}, prediction_id IN (SELECT prediction_id FROM feedback) "  # noqa: S608
    "FROM requests SEMI JOIN chosen USING (prediction_id)"
)


@contextmanager
def recorded(job: Replaying) -> Iterator[Iterator[Recorded]]:
    """The requests of a job, some at a time, about in the order in which they were answered."""
    aside = job.aside / "reading"
    with connect(aside, memory=MEMORY, disk=2 * MEMORY, threads=1) as connection:
        make_views(connection, job.files)
        window = [job.since, job.until, job.most]
        connection.execute(_CHOSEN.format(order=_ORDER[job.choice]), window)
        connection.execute(_READ)
        yield _rows(connection)


def _rows(connection: duckdb.DuckDBPyConnection) -> Iterator[Recorded]:
    while rows := connection.fetchmany(_BATCH):
        for row in rows:
            yield Recorded(*row)


class _Replay:
    """One replay: several threads take requests from one source."""

    def __init__(
        self, job: Replaying, source: Iterator[Recorded], labelled: LabelledAnswers
    ) -> None:
        self._job = job
        self._source = source
        self._labelled = labelled
        self._candidate = Candidate(job.socket, job.patience)
        self._findings = Findings(job.tolerance)
        self._reading, self._adding = threading.Lock(), threading.Lock()
        self._told = 0.0

    def run(self) -> Found:
        with ThreadPoolExecutor(self._job.concurrency) as executor:
            for done in [executor.submit(self._work) for _ in range(self._job.concurrency)]:
                done.result()
        self._tell()
        return self._findings.found()

    def _work(self) -> None:
        while (request := self._next()) is not None:
            why = request.why_not_sent(altered=self._job.altered)
            if why is not None:
                with self._adding:
                    self._findings.leave_out(request, why)
                continue
            answer, seconds = self._candidate.score(
                request.path, request.input_type, request.input or b""
            )
            with self._adding:
                self._findings.add(request, answer, seconds)
                self._labelled.add(request, answer)
                if time.monotonic() - self._told >= _TELL:
                    self._tell()

    def _next(self) -> Recorded | None:
        with self._reading:
            return next(self._source, None)

    def _tell(self) -> None:
        self._told = time.monotonic()
        found = self._findings
        _say(requests=found.requests, different=found.different, errors=found.errors)


def replay(job: Replaying) -> None:
    """Do a job; the answer goes to stdout."""
    try:
        labelled = LabelledAnswers(job.aside, job.columns)
        with recorded(job) as source:
            found = _Replay(job, source, labelled).run()
        _say(found=_judged(found, labelled, job.files).model_dump(mode="json"))
    except (duckdb.Error, MemoryError, OSError) as error:
        _say(refused=_line(error))


def _judged(found: Found, labelled: LabelledAnswers, files: tuple[Path, ...]) -> Found:
    """With the quality, where truths were told."""
    try:
        return found.model_copy(update={"quality": labelled.compare(files)})
    except Exception as error:  # whatever strangers' truths have caused: the rest is worth telling
        return found.model_copy(update={"unmeasured": _line(error)})


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:500] or "there is not enough memory"


def _say(**values: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(values) + b"\n")
    sys.stdout.buffer.flush()


def _end_with_stdin() -> None:
    """Whoever has begun this is gone: nobody wants it any more."""
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Do the job on stdin."""
    job = Replaying.model_validate_json(sys.stdin.buffer.readline())
    resource.setrlimit(resource.RLIMIT_AS, (ALL_MEMORY, ALL_MEMORY))
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    replay(job)
    sys.stdout.flush()
    os._exit(0)  # the thread that waits for stdin would hold the interpreter up


if __name__ == "__main__":
    main()
