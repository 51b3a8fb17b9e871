"""`modelyard doctor` on this host, as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.integration.images.making import WHEELHOUSE


def doctor(home: Path, code: int = 0, **variables: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "modelyard.cli", "doctor", "-o", "json"],
        env={**os.environ, "MODELYARD_WHEELS": str(WHEELHOUSE), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


@pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox on this system")
def test_what_is_tried_here(home: Path) -> None:
    found = doctor(home)
    assert found["sandbox"]["grade"] == "ok"
    assert "bubblewrap" in found["sandbox"]["seen"]
    assert found["packages"]["grade"] == "ok"
    assert found["home"]["grade"] == "ok"
    assert all(finding["seen"] for finding in found.values())
    assert all(finding["fix"] for finding in found.values() if finding["grade"] != "ok")
    assert not (home / "home").exists(), "looking changes nothing"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox on this system")
def test_what_is_missing_is_named(home: Path) -> None:
    found = doctor(home, PATH=str(home))
    assert found["sandbox"]["grade"] != "ok"
    assert "bubblewrap is not installed" in found["sandbox"]["seen"]


def test_what_is_needed_decides(home: Path) -> None:
    long = home / ("x" * 100)
    long.mkdir()
    found = doctor(home, code=1, TMPDIR=str(long), MODELYARD_WHEELS=str(home))
    assert found["sockets"]["required"]
    assert found["packages"]["grade"] == "missing"
