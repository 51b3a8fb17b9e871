"""The scripts on the reference page work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.runtime.conftest import Load

from modelyard_runtime.http.server import Headers, Request
from modelyard_runtime.protocols.score import ScoreProtocol
from modelyard_runtime.scoring import Call, Scorer, asking

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "scoring.md"
SCRIPTS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def score(load_script: Load, script: str, body: bytes) -> bytes:
    entry = load_script(script)
    scorer = Scorer(entry, lambda cause: None)
    request = Request("POST", "/score", "", Headers([]), body)
    body = (
        Call(scorer, request, asking(request.head, ScoreProtocol(entry.signature))).execute().body
    )
    assert isinstance(body, bytes)
    return body


def test_the_original_kind(load_script: Load, tmp_path: Path) -> None:
    weights = tmp_path / "models" / "iris" / "3" / "weights.json"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_text("[2, 3]")
    assert score(load_script, SCRIPTS[0], b'{"data": [[1, 1], [0, 2]]}') == b"[5,6]"


def test_the_annotated_kind(load_script: Load) -> None:
    body = b'[{"petal_length": 1, "petal_width": 0.2}, {"petal_length": 5, "petal_width": 2}]'
    assert score(load_script, SCRIPTS[1], body) == b'["setosa","other"]'
    wrong = b'[{"petal_length": "x", "petal_width": 1}]'
    assert b"rows[0].petal_length: expected a number, got text" in (
        score(load_script, SCRIPTS[1], wrong)
    )


@pytest.mark.parametrize("body", [b'{"rows": [[1, 2]], "scale": 2}', b'{"rows": [[2, 4]]}'])
def test_several_parameters(load_script: Load, body: bytes) -> None:
    assert score(load_script, SCRIPTS[2], body) == b"[6.0]"


def test_a_generator(load_script: Load) -> None:
    assert load_script(SCRIPTS[3]).streams
    assert list(load_script(SCRIPTS[3]).run(["ab"])) == [{"word": "ab", "length": 2}]


def test_a_batchable_one(load_script: Load) -> None:
    batching = load_script(SCRIPTS[4]).batching
    assert batching is not None
    assert (batching.max_rows, batching.max_wait) == (256, 0.002)
    assert score(load_script, SCRIPTS[4], b"[[1, 2]]") == b"[3.0]"


def test_one_that_refuses(load_script: Load) -> None:
    assert score(load_script, SCRIPTS[5], b"[1, 3]") == b"3.0"
    assert score(load_script, SCRIPTS[5], b"[]") == b'{"message":"rows: at least one is needed"}'


def test_that_is_every_script() -> None:
    assert len(SCRIPTS) == 6
