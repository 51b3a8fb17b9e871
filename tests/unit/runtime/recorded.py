"""What was recorded in a folder, as tests see it."""

from __future__ import annotations

import os
from pathlib import Path

from modelyard_runtime.capture.records import Answered, decode
from modelyard_runtime.capture.segments import open_closed, read_records, segments_in
from modelyard_runtime.capture.tallies import Counts, read_tally


def answered(prediction: str, size: int = 10) -> Answered:
    return Answered(
        at=1_700_000_000_000_000,
        prediction=prediction,
        request=prediction,
        key="k",
        deployment="",
        replica="",
        status=200,
        seconds=0.25,
        path="/score",
        code="",
        input=b"x" * size,
        input_type="application/json",
        input_size=size,
        output=None,
        output_type="",
        output_size=0,
    )


def records(folder: Path) -> list[Answered]:
    """Of everything in a folder's closed segments."""
    decoded = (decode(p) for path in segments_in(folder) for p in in_another_process(path))
    return [record for record in decoded if isinstance(record, Answered)]


def predictions(folder: Path) -> list[str]:
    """The ids of the same."""
    return [record.prediction for record in records(folder)]


def in_another_process(path: Path) -> list[bytes]:
    """The records of a segment, whoever has it open here: locks are of the process."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        fd = open_closed(path)
        with open(write, "wb") as file:
            for payload in [] if fd is None else read_records(fd):
                file.write(len(payload).to_bytes(4, "little") + payload)
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    payloads = []
    while data:
        size = int.from_bytes(data[:4], "little")
        payloads.append(data[4 : 4 + size])
        data = data[4 + size :]
    return payloads


def counts(folder: Path, writer: str = "w") -> Counts:
    found = read_tally(folder / f"{writer}.tally")
    assert found is not None
    return found
