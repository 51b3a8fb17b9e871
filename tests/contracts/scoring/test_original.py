"""Scripts of the original, unmodified: a replica answers as the original did.

Every answer is held against what `azureml-inference-server-http` 1.5.1 answered to the same request
for the same script; `record_original.py` has recorded it. What differs on purpose is in
`differences.py`, with the reason.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contracts.scoring.cases import RECORDED, SCRIPTS, TABLE, Case
from tests.contracts.scoring.client import ask
from tests.contracts.scoring.differences import DIFFERENCES
from tests.integration.runtime.replica import Replica

ANSWERS: dict[str, dict[str, Any]] = json.loads(RECORDED.read_text())
EVERY_CASE = [(script, title) for script, answers in ANSWERS.items() for title in answers]

COMPARED = {
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "content-type",
    "traceid",
    "x-late",
    "x-many",
    "x-ms-client-request-id",
    "x-ms-request-id",
    "x-ms-run-function-failed",
    "x-request-id",
}
"""Header fields that are held against each other."""
PAGE = {"x-request-id", "x-ms-request-id", "x-ms-run-function-failed"}
"""Fields that the original also puts on pages, such as `/`: here they are on scores only."""


@pytest.fixture(scope="module")
def replicas() -> Iterator[dict[str, Replica]]:
    """The replicas that have been started so far, by the name of the script."""
    started: dict[str, Replica] = {}
    yield started
    for replica in started.values():
        replica.stop()


@pytest.fixture
def replica(script: str, replicas: dict[str, Replica], monkeypatch: pytest.MonkeyPatch) -> Replica:
    if script not in replicas:
        for name, value in TABLE[script].environment.items():
            monkeypatch.setenv(name, value)
        replicas[script] = start(TABLE[script].file or script)
    replicas[script].wait_until_ready()
    return replicas[script]


def start(script: str) -> Replica:
    """A replica of one script, with the others beside it."""
    replica = Replica((SCRIPTS / f"{script}.py").read_text(), workers=1)
    for path in SCRIPTS.glob("*.py"):
        (replica.folder / "code" / path.name).write_bytes(path.read_bytes())
    replica.start()
    return replica


def fields(answer: dict[str, Any], names: set[str]) -> list[tuple[str, str]]:
    return [(name, _id(name, value)) for name, value in answer["headers"] if name in names]


def _id(name: str, value: str) -> str:
    generated = name in ("x-request-id", "x-ms-request-id") and value.count("-") == 4
    return "generated" if generated else value


def body(answer: dict[str, Any]) -> Any:
    """Parsed where it is JSON; of a service's description the parts that the script determines."""
    if "base64" in answer:
        return base64.b64decode(answer["base64"])
    try:
        parsed = json.loads(answer["body"])
    except ValueError:
        return answer["body"]
    return schemas(parsed) if isinstance(parsed, dict) and "paths" in parsed else parsed


def schemas(document: dict[str, Any]) -> dict[str, Any]:
    """What a description says of the script: its input and output, and in which dialect."""
    dialect = str(document.get("swagger") or document["openapi"])
    described = document.get("definitions") or document["components"]["schemas"]
    return {
        "dialect": dialect[:3],
        "input": described["ServiceInput"],
        "output": described["ServiceOutput"],
        "operation": document["paths"]["/score"]["post"]["operationId"],
    }


def is_score(script: str, case: Case) -> bool:
    """Whether the script is asked; `OPTIONS` are for a raw one only."""
    methods = ("GET", "POST", "OPTIONS") if script == "raw" else ("GET", "POST")
    return case.path.startswith("/score") and case.method in methods


@pytest.mark.parametrize(("script", "title"), EVERY_CASE)
def test_answers_as_recorded(script: str, title: str, replica: Replica) -> None:
    recorded, difference = ANSWERS[script][title], DIFFERENCES.get((script, title))
    case = TABLE[script].cases[title]
    answer = ask(replica.socket, case)
    names = COMPARED if is_score(script, case) else COMPARED - PAGE
    if not body(answer):
        names = names - {"content-type"}  # of nothing
    if difference is None:
        assert (answer["status"], body(answer)) == (recorded["status"], body(recorded))
        assert fields(answer, names) == fields(recorded, names)
    else:
        assert (answer["status"], body(answer)) == (difference.status, difference.body)
        changed = {**dict(fields(recorded, names)), **difference.headers}
        expected = {name: value for name, value in changed.items() if value is not None}
        assert dict(fields(answer, names)) == expected


def test_every_difference_is_one() -> None:
    for (script, title), difference in DIFFERENCES.items():
        recorded = ANSWERS[script][title]
        same = (recorded["status"], body(recorded)) == (difference.status, difference.body)
        assert difference.headers or not same, (script, title)
