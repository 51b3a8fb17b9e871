"""The scripts on the reference page work."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.runtime.conftest import Load

from modelyard_runtime.http import Headers, Request
from modelyard_runtime.protocols.score import ScoreProtocol
from modelyard_runtime.scoring import Scorer

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "scoring.md"
SCRIPTS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def score(load_script: Load, script: str, body: bytes) -> bytes:
    entry = load_script(script)
    scorer = Scorer(entry, lambda cause: None)
    request = Request("POST", "/score", "", Headers([]), body)
    body = scorer.call(request, ScoreProtocol(entry.signature)).execute().body
    assert isinstance(body, bytes)
    return body


def test_the_original_kind(load_script: Load, tmp_path: Path) -> None:
    weights = tmp_path / "models" / "iris" / "3" / "weights.json"
    weights.parent.mkdir(parents=True)
    weights.write_text("[2, 3]")
    assert score(load_script, SCRIPTS[0], b'{"data": [[1, 1], [0, 2]]}') == b"[5,6]"


def test_the_annotated_kind(load_script: Load) -> None:
    assert score(load_script, SCRIPTS[1], b"[[1, 2], [3]]") == b"[3.0,3.0]"
