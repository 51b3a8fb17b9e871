"""What a page shows: its files, and its commands, which run as a reader would run them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = [sys.executable, "-m", "modelyard.cli"]
GUIDE = ROOT / "docs" / "guides" / "first-service.md"


def write_files(page: Path, folder: Path) -> None:
    """Every block that begins with `# name.py`, and the requirements."""
    for language, text in BLOCK.findall(page.read_text()):
        name = re.match(r"# (\w+\.py)\n", text)
        if name:
            (folder / name[1]).write_text(text)
        elif not language and "==" in text:
            (folder / "requirements.txt").write_text(text)


def commands(page: Path) -> list[list[str]]:
    """Every `$ modelyard …` line."""
    return [
        shlex.split(line.removeprefix("$ modelyard "), comments=True)
        for language, text in BLOCK.findall(page.read_text())
        if language == "console"
        for line in text.replace("\\\n", "").splitlines()
        if line.startswith("$ modelyard ")
    ]


def run(words: list[str], folder: Path, variables: dict[str, str]) -> str:
    """Run a command; what it prints goes into the file behind `>`, if there is one."""
    if ">" in words:
        *words, _, target = words
        printed = run(words, folder, variables)
        (folder / target).write_text(printed)
        return printed
    done = subprocess.run(
        [*COMMAND, *words], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def train(folder: Path) -> None:
    write_files(GUIDE, folder)
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True)
