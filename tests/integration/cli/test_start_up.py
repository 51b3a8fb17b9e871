"""The command line starts fast because it imports late."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import runpy, sys
sys.argv = ["modelyard", *sys.argv[2:]]
forbidden = set(sys.argv.pop(1).split(","))
try:
    runpy.run_module("modelyard.cli", run_name="__main__")
except SystemExit:
    sys.exit(", ".join(forbidden & set(sys.modules)) or None)
"""


@pytest.mark.parametrize(
    ("words", "forbidden"),
    [
        (["--help"], "pydantic,httpx2,rich.console,yaml"),
        (["version"], "httpx2,rich.console,yaml,modelyard.schemas"),
    ],
)
def test_imports_only_what_it_needs(words: list[str], forbidden: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "-", forbidden, *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
