"""Every example runs, from a folder and a home that know nothing of this checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/main.py"))


def run_example(name: str, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name / "main.py")],
        cwd=home,
        env={**os.environ, "HOME": str(home), "MODELYARD_WHEELS": str(ROOT / ".wheelhouse")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name: str, home: Path) -> None:
    output = run_example(name, home)
    if name == "01-digits":
        accuracies = re.search(r"Accuracy over HTTP (\d\.\d+), in process (\d\.\d+)", output)
        assert accuracies is not None
        assert accuracies[1] == accuracies[2]
    assert "Traceback" not in output
