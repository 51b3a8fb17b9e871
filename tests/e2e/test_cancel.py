"""A build that is not wanted any longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import modelyard
from modelyard.errors import NotFound, OperationFailed

CLI = (sys.executable, "-m", "modelyard.cli")
SLOW = """
import time

def init():
    print("here it stays", flush=True)
    time.sleep(3600)

def run(data):
    return data
"""


def test_a_build_that_is_cancelled_leaves_no_version_behind(
    yard: modelyard.Client, tmp_path: Path
) -> None:
    (tmp_path / "answer.txt").write_text("42")
    script = tmp_path / "score.py"
    script.write_text(SLOW)
    model = yard.models.register("cut-short", tmp_path / "answer.txt").reference
    running = subprocess.Popen(
        [*CLI, "image", "build", "cut-short", "--model", model, "--script", str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A shell has what it starts in the background ignore interrupts, tests included.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stderr is not None
    while "here it stays" not in (line := running.stderr.readline()):
        assert line, "the build has ended"
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the build was ended" in said
    with pytest.raises(NotFound):
        yard.images.get("cut-short")

    begun = yard.images.build("cut-short", models=[model], script=script, wait=False)
    cancel = [*CLI, "operation", "cancel", str(begun.operation)]
    done = subprocess.run(cancel, capture_output=True, text=True, check=True)
    assert done.stdout == "Cancelled\n"
    with pytest.raises(OperationFailed, match="was cancelled"):
        yard.operations.wait(begun.operation)
    assert not yard.images.list(name="cut-short")
