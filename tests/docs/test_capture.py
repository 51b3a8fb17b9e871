"""The page about capture shows what works: its commands run in their order."""

from __future__ import annotations

import json
from pathlib import Path

from tests.docs.pages import ROOT, commands, run

PAGE = ROOT / "docs" / "concepts" / "capture.md"
SCRIPT = "def run(data: dict):\n    return data['age'] + 1\n"
REQUEST = {
    "age": 41,
    "name": "Ada",
    "email": "ada@example.org",
    "customer": {"id": 7},
    "customer_id": 7,
}


def test_capture(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "score.py").write_text(SCRIPT)
    run(["image", "build", "digits", "--script", "score.py"], tmp_path, variables)
    run(["service", "deploy", "digits", "--image", "digits:1"], tmp_path, variables)
    outputs = []
    for words in commands(PAGE):
        sure = ["--yes"] if words[:2] == ["capture", "forget"] else []
        outputs.append(run([*words, *sure], tmp_path, variables))
        if words[:2] == ["service", "update"]:
            run(["service", "score", "digits", json.dumps(REQUEST)], tmp_path, variables)
            run(["capture", "verify", "digits"], tmp_path, variables)  # waits until it is there
    assert len(outputs) >= 5
    assert "41" in outputs[1]
