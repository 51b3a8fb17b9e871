"""The page about updates shows what works: its commands run in their order."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.docs.pages import ROOT, commands, run

PAGE = ROOT / "docs" / "concepts" / "updates.md"


def test_updates(tmp_path: Path, variables: dict[str, str]) -> None:
    for version in (1, 2):
        (tmp_path / "score.py").write_text(f"def run(data):\n    return {version}\n")
        run(["image", "build", "digits", "--script", "score.py"], tmp_path, variables)
    run(["service", "deploy", "digits", "--image", "digits:1"], tmp_path, variables)
    outputs = {" ".join(words[:2]): run(words, tmp_path, variables) for words in commands(PAGE)}
    assert len(outputs) == 6
    assert "digits:1 90 %, digits:2 10 %" in outputs["service show"]
    assert "digits:2 gets 10 % since" in outputs["service show"]
    assert all(
        f"digits:{n} {share} %" in outputs["service rollback"] for n, share in ((1, 80), (2, 20))
    )
    assert "taken back at a shadow of 10 % by owner" in outputs["service history"]
    assert "promoted at 10 % by owner" in outputs["service history"]
    (split,) = re.findall(r"```yaml\n(name: .*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "service.yaml").write_text(split)
    again = run(["deploy", "-f", "service.yaml", "-o", "json"], tmp_path, variables)
    assert [step["action"] for step in json.loads(again)["steps"]] == ["keep"] * 3
