"""What the guide to models without a script shows: its commands run and print what it prints."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import BLOCK, ROOT, run, write_files

GUIDE = ROOT / "docs" / "guides" / "serve-a-model-without-a-script.md"


def shown() -> list[tuple[list[str], str]]:
    """Words of every command, and what the page prints below it."""
    text = "".join(
        text for language, text in BLOCK.findall(GUIDE.read_text()) if language == "console"
    )
    found = []
    for block in re.split(r"^\$ modelyard ", text, flags=re.MULTILINE)[1:]:
        lines = block.splitlines()
        answer = lines.pop() if lines[-1].startswith("[") else ""
        found.append((shlex.split("\n".join(lines)), answer))
    return found


def test_commands_print_what_the_page_says(tmp_path: Path, variables: dict[str, str]) -> None:
    write_files(GUIDE, tmp_path)
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True)
    commands = shown()
    assert len(commands) == 4
    for words, answer in commands:
        printed = run(words, tmp_path, variables)
        if answer:
            assert json.loads(printed) == json.loads(answer)
    log = run(["image", "log", "flowers:1"], tmp_path, variables)
    (line,) = re.findall(r"^no requirements were given: .*$", GUIDE.read_text(), re.MULTILINE)
    assert line in log
