"""What the guide for those who move shows: scripts are started, requests sent, answers compared."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.scoring.cases import Case
from tests.contracts.scoring.client import ask
from tests.docs.pages import BLOCK, ROOT, commands, run, write_files
from tests.integration.runtime.replica import replica

GUIDE = ROOT / "docs" / "guides" / "moving-from-azureml.md"


def shown() -> Iterator[tuple[str, str, str, str]]:
    """Script, name of its file, command, and answer, of every request in the guide."""
    script = name = ""
    for language, text in BLOCK.findall(GUIDE.read_text()):
        if language == "python":
            script, name = text, re.match(r"# (\w+\.py)\n", text)[1]
        elif language == "console" and "$ curl" in text:
            for command, answer in re.findall(r"\$ (curl .*)\n(.*)\n", text):
                yield script, name, command, answer


def case_of(command: str) -> Case:
    """The request of a `curl` line."""
    words = shlex.split(command)
    options = {words[i]: words[i + 1] for i in range(len(words)) if words[i] in ("-H", "-d")}
    headers = dict([options["-H"].split(": ")]) if "-H" in options else {}
    path = words[1].removeprefix("http://localhost")
    return Case("POST" if "-d" in options else "GET", path, headers, options.get("-d", "").encode())


@pytest.mark.parametrize(("script", "name", "command", "answer"), list(shown()))
def test_requests(script: str, name: str, command: str, answer: str) -> None:
    with replica(script, workers=1) as running:
        assert ask(running.socket, case_of(command))["body"] == answer


def test_every_kind_of_script_is_shown() -> None:
    assert {name for _, name, _, _ in shown()} == {"rows.py", "raw.py"}


def test_deploying_a_script_of_2018(tmp_path: Path, variables: dict[str, str]) -> None:
    write_files(GUIDE, tmp_path)
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True)
    outputs = [run(words, tmp_path, variables) for words in commands(GUIDE)]
    assert outputs[-1].strip() in GUIDE.read_text().splitlines()
