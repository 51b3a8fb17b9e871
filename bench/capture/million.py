"""How long a million records take to write, to seal, to ask and to export."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from bench._race import figure
from modelyard.capture.jobs import Job, KnownDeployment, OpenSegment, Question
from modelyard.domain.captured import AnswerForm
from modelyard.domain.values import Value
from modelyard_runtime.capture import spool
from modelyard_runtime.capture.records import Answered
from modelyard_runtime.capture.segments import segments_in

RECORDS = 1_000_000
ROUNDS = 3
SERVICE = UUID(int=1)
QUERY = (
    "SELECT date_trunc('minute', time) AS minute, status, count(*), quantile_cont(seconds, 0.99) "
    "FROM requests GROUP BY ALL ORDER BY ALL"
)


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with tempfile.TemporaryDirectory(prefix="my-") as name:
        yield from _million(Path(name))


def _million(folder: Path) -> Iterator[dict[str, Any]]:
    written = spool.Spool(folder / "spool", "worker-0")
    began = time.perf_counter()
    for number in range(RECORDS):
        written.add(_record(number))
    took = time.perf_counter() - began
    written.close()
    yield figure("a record into its segment", took / RECORDS * 1e6, "us")
    (folder / "outbox").mkdir()
    began = time.perf_counter()
    _program("modelyard.capture.sealing", _job(folder))
    yield figure("a million records sealed", time.perf_counter() - began, "s")
    files = tuple((folder / "outbox").glob("*.parquet"))
    answer = folder / "answer"
    for name, sql, form, goal in (
        ("query over a million records", QUERY, AnswerForm.JSON, "<= 1"),
        ("export of a million records", "SELECT * FROM requests", AnswerForm.PARQUET, "<= 5"),
    ):
        question = Question(sql=sql, files=files, form=form, answer=answer)
        times = [_time(question) for _ in range(ROUNDS)]
        yield figure(name, statistics.median(wall for wall, _ in times), "s", goal)
        yield figure(f"{name}, processor", min(cpu for _, cpu in times), "s")


def _record(number: int) -> Answered:
    name = f"3076a5a76349f896{number:016x}"
    body = _body(number)
    return Answered(
        at=1_767_355_200_000_000 + number * 1000,
        prediction=name,
        request=name,
        key="0123456789abcdef",
        deployment="",
        replica="",
        status=500 if number % 97 == 0 else 200,
        seconds=0.001 + (number % 1000) / 1e5,
        path="/score",
        code="",
        input=body,
        input_type="application/json",
        input_size=len(body),
        output=b"[%d]" % (number % 3),
        output_type="application/json",
        output_size=3,
    )


def _body(number: int) -> bytes:
    """One row of four numbers, no two rows alike."""
    spread = number * 2_654_435_761 % (1 << 32)
    row = ((spread >> shift) % 9973 / 1000 for shift in range(0, 16, 4))
    return b'{"data": [[%.3f, %.3f, %.3f, %.3f]]}' % tuple(row)


def _job(folder: Path) -> Job:
    known = KnownDeployment(service=SERVICE, service_name="bench", image="bench:1", model="m:1")
    segments = tuple(
        OpenSegment(
            path=path,
            source="bench",
            service=SERVICE,
            service_name="bench",
            deployment="d",
            replica="r",
        )
        for path in segments_in(folder / "spool")
    )
    return Job(outbox=folder / "outbox", deployments={"d": known}, segments=segments)


def _time(question: Question) -> tuple[float, float]:
    """Seconds, and seconds of processor time, the start of the program included."""
    began, used = time.perf_counter(), _used()
    _program("modelyard.capture.asking", question)
    return time.perf_counter() - began, _used() - used


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _program(module: str, told: Value) -> None:
    command = [sys.executable, "-P", "-m", module]
    subprocess.run(command, input=told.model_dump_json().encode(), check=True)
