"""A server that is killed in the middle of a check start: the next one ends what was left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from modelyard.images.trial import trial_folder
from modelyard.settings import SandboxMode

KILLED = """
import sys, time
from modelyard.domain.service import Network
from modelyard.images.launch import base_python
from modelyard.images.sandbox.choosing import host_sandbox
from modelyard.images.sandbox.cell import Cell, KernelLimits
from modelyard.images.trial import Trial, trial_folder
from modelyard.settings import SandboxMode

with trial_folder() as folder:
    code = "import subprocess, sys, time\\n"
    code += "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    code += " start_new_session=True)\\nprint('up', flush=True)\\ntime.sleep(600)"
    sandbox = host_sandbox(SandboxMode(sys.argv[1]))
    cell = Cell(sandbox, folder, {}, Network.NONE, KernelLimits(1 << 20, 100))
    python = str(base_python()[0])
    Trial(cell, [python, "-c", code], {"TMPDIR": str(cell.inside.scratch)}, {})
    # Both programs, and not a bwrap that has yet to say with whom it ends.
    while [p.name() != "bwrap" for p in psutil.Process().children(recursive=True)].count(True) < 2:
        time.sleep(0.01)
    print(folder, flush=True)
    time.sleep(600)
""".replace("import sys, time", "import psutil, sys, time", 1)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Of a trial, and of the sandbox around it."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [process.environ().get("TMPDIR", ""), *process.cmdline()]
            if any(word.startswith(str(folder)) for word in words):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def gone(folder: Path) -> None:
    """Nothing of a trial runs any longer."""
    give_up = time.monotonic() + 10
    while processes_of(folder) and time.monotonic() < give_up:
        time.sleep(0.01)
    assert processes_of(folder) == []


def test_a_sandbox_ends_with_its_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    command = [sys.executable, "-c", KILLED, SandboxMode.REQUIRED]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        folder = Path(server.stdout.readline().decode().strip())
        assert len(processes_of(folder)) >= 2
        server.send_signal(signal.SIGKILL)
    gone(folder)


def test_the_next_check_ends_what_was_left(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    command = [sys.executable, "-c", KILLED, SandboxMode.OFF]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        folder = Path(server.stdout.readline().decode().strip())
        assert folder.parent == home
        with trial_folder():
            assert len(processes_of(folder)) == 2, "what still runs is let be"
        server.send_signal(signal.SIGKILL)
    assert len(processes_of(folder)) == 2
    with trial_folder() as other:
        assert other.is_dir()
    gone(folder)
    assert list(home.iterdir()) == []
