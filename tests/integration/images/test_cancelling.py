"""Programs that are run for a build, and ended when it is not wanted any longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from modelyard.images.cancelling import Cancelled, go_on, run_program, while_wanted

TALKS = """
import sys
text = sys.stdin.read()
print(len(text))
sys.stderr.write("x" * 1_000_000)
sys.exit(3)
"""
STARTS_ANOTHER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("pids", "w").write(f"{os.getpid()} {child.pid}")
os.rename("pids", sys.stdin.read())
time.sleep(600)
"""


def run(program: str, text: str, longest: float = 600) -> subprocess.CompletedProcess[str]:
    return run_program([sys.executable, "-c", program], text, dict(os.environ), longest)


def test_what_is_said_is_passed_on() -> None:
    done = run(TALKS, "é" * 1_000_000)
    assert (done.returncode, done.stdout) == (3, "1000000\n")
    assert done.stderr == "x" * 1_000_000


def test_one_that_takes_too_long_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run("import time; time.sleep(600)", "", 0.2)


def test_all_that_was_started_ends_when_it_is_not_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started = tmp_path / "started"
    with pytest.raises(Cancelled), while_wanted(started.exists):
        run(STARTS_ANOTHER, str(started))
    pids = [int(pid) for pid in started.read_text().split()]
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def test_what_nobody_asked_about_goes_on() -> None:
    with while_wanted(lambda: True):
        pass
    go_on()
