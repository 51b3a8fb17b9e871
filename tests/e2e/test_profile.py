"""`modelyard profile` of an image that runs, from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import modelyard

PROFILE = [sys.executable, "-m", "modelyard.cli", "profile"]


def test_a_profile_recommends_and_draws(
    yard: modelyard.Client, breakable: str, tmp_path: Path
) -> None:
    curve = tmp_path / "curve.html"
    options = ["--latency", "10s", "--rate", "1", "--duration", "100ms", "--max-concurrency", "2"]
    done = subprocess.run(
        [*PROFILE, breakable, *options, "--plot", str(curve), "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    profile = json.loads(done.stdout)
    assert [level["concurrency"] for level in profile["levels"]] == [1, 2]
    assert profile["recommendation"]["replicas"] == 1
    assert profile["recommendation"]["max_concurrent_requests"] in (1, 2)
    assert "1 in flight: " in done.stderr
    assert "<svg " in curve.read_text()


def test_an_interrupt_ends_the_profile(yard: modelyard.Client, breakable: str) -> None:
    running = subprocess.Popen(
        [*PROFILE, breakable, "--duration", "60s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A shell has what it starts in the background ignore interrupts, tests included.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stderr is not None
    assert "starting one replica" in running.stderr.readline()
    operation = yard.operations.list(limit=1)[0]
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the profile was ended" in said
    assert yard.operations.get(operation.id).state is modelyard.OperationState.CANCELLED
