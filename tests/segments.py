"""Records of a service, as a worker writes them, and the files that they are sealed to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from modelyard.capture.jobs import Job, KnownDeployment, OpenSegment
from modelyard.capture.sealing import seal_all
from modelyard.domain.captured import Segment
from modelyard_runtime.capture.records import Answered, Told, encode
from modelyard_runtime.capture.segments import Segment as Open
from modelyard_runtime.capture.segments import frame

SERVICE = UUID(int=1)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
AT = int(NOON.timestamp() * 1e6)
KNOWN = {
    "d1": KnownDeployment(service=SERVICE, service_name="digits", image="digits:1", model="m:1"),
    "d2": KnownDeployment(service=SERVICE, service_name="digits", image="digits:2", model="m:2"),
}


def answered(prediction: str, **changes: Any) -> Answered:
    fields: dict[str, Any] = {
        "at": AT,
        "prediction": prediction,
        "request": prediction,
        "key": "k",
        "deployment": "",
        "replica": "",
        "status": 200,
        "seconds": 0.25,
        "path": "/score",
        "code": "",
        "input": b'{"data": [[1, 2]]}',
        "input_type": "application/json",
        "input_size": 18,
        "output": b"[3]",
        "output_type": "application/json",
        "output_size": 3,
    }
    return Answered(**{**fields, **changes})


def write(folder: Path, name: str, *records: Any) -> Path:
    folder.mkdir(exist_ok=True)
    segment = Open(folder, name)
    for record in records:
        segment.append(frame(record if isinstance(record, bytes) else encode(record)))
    segment.close()
    return segment.path


def seal(
    tmp_path: Path, *paths: Path, deployment: str = "d1", replica: str = "r0"
) -> list[Segment]:
    outbox = tmp_path / "outbox"
    outbox.mkdir(exist_ok=True)
    segments = tuple(
        OpenSegment(
            path=path,
            source="source",
            service=SERVICE,
            service_name="digits",
            deployment=deployment,
            replica=replica,
        )
        for path in paths
    )
    seal_all(Job(outbox=outbox, deployments=KNOWN, segments=segments))
    return [Segment.model_validate_json(p.read_bytes()) for p in sorted(outbox.glob("*.json"))]


def told(prediction: str, truth: Any, row: int = 0, at: int = AT) -> Told:
    return Told(at, prediction, row, json.dumps(truth).encode(), "k")
