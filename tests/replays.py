"""Requests to replay, and reports of replays."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.segments import NOON

from modelyard.domain.difference import Answer, Tolerance
from modelyard.domain.replay import Choice, Findings, Recorded, Replay

SERVICE, DIGEST, MARK = UUID(int=1), f"sha256:{'0' * 64}", "mark"


def recorded(prediction: str = "a", **changes: Any) -> Recorded:
    fields: dict[str, Any] = {
        "prediction_id": prediction,
        "time": NOON,
        "image": "iris:3",
        "path": "/score",
        "status": 200,
        "seconds": 0.004,
        "code": "",
        "input": b"[1]",
        "input_type": "application/json",
        "input_size": 3,
        "output": b"[0.5]",
        "output_size": 5,
        "withheld": "",
    }
    return Recorded(**{**fields, **changes})


def report(findings: Findings, **changes: Any) -> Replay:
    fields: dict[str, Any] = {
        "id": UUID(int=2),
        "service": "iris",
        "service_id": SERVICE,
        "image": "iris:4",
        "digest": DIGEST,
        "choice": Choice.NEWEST,
        "wanted": 1000,
        "since": None,
        "until": None,
        "tolerance": Tolerance(),
        "max_diff": 25.0,
        "settings_mark": MARK,
        "workers": 1,
        "found": findings.found(),
        "began_at": NOON,
        "ended_at": NOON,
    }
    return Replay(**{**fields, **changes})


def some(equal: int, different: int) -> Findings:
    findings = Findings(Tolerance())
    for number in range(equal):
        findings.add(recorded(f"e{number}"), Answer(200, b"[0.5]"), 0.001)
    for number in range(different):
        findings.add(recorded(f"d{number}"), Answer(200, b"[%d]" % (number + 1)), 0.002)
    return findings
