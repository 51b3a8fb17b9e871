"""The guide on alerts: its commands run in their order, and its receiver knows what is genuine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from tests.docs.alerts_page import PAGE
from tests.docs.pages import BLOCK, commands, run
from tests.receivers import hooks, mails


def test_alerts(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "score.py").write_text("def run(data):\n    return data\n")
    (tmp_path / "page.py").write_text(
        "import sys\nopen(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')\n"
    )
    page = [sys.executable, str(tmp_path / "page.py"), str(tmp_path / "paged")]
    with hooks() as receiver, mails() as mail:
        variables = {
            **variables,
            "MODELYARD_ALERT_ALLOW_PRIVATE": "127.0.0.1",
            "MODELYARD_ALERT_SMTP": f"smtp://127.0.0.1:{mail.port}",
            "MODELYARD_ALERT_SMTP_FROM": "yard@example.org",
            "MODELYARD_ALERT_COMMAND": json.dumps(page),
        }
        run(["image", "build", "digits", "--script", "score.py"], tmp_path, variables)
        run(["service", "deploy", "digits", "--image", "digits"], tmp_path, variables)
        here = "https://hooks.example.org/modelyard"
        outputs = {
            " ".join(words[:3]): run(
                [word.replace(here, receiver.url) for word in words], tmp_path, variables
            )
            for words in commands(PAGE)
        }
        for channel in ("nina", "command"):
            run(["alert", "channel", "test", channel], tmp_path, variables)
    shown = json.loads(run(["service", "show", "digits", "-o", "json"], tmp_path, variables))
    [yaml_text] = [text for language, text in BLOCK.findall(PAGE.read_text()) if language == "yaml"]
    assert shown["settings"]["alerts"] == yaml.safe_load(yaml_text)["settings"]["alerts"]
    assert outputs["alert channel test"] == "ops has got a message\n"
    [posted] = receiver.got
    [example] = [text for language, text in BLOCK.findall(PAGE.read_text()) if language == "json"]
    assert json.loads(posted.body).keys() == json.loads(example).keys()
    assert "Subject: [Modelyard]" in mail.got[0]
    assert json.loads((tmp_path / "paged").read_text())["type"] == "alert.test"
    listed = outputs["alert channel list"]
    assert f"http://127.0.0.1:{receiver.port}/…" in listed
    assert "to=me" not in listed
