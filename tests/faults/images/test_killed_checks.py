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

KILLED = """
import sys, time
from modelyard.images.trial import Trial, scratch_of, trial_folder

with trial_folder() as folder:
    code = "import subprocess, sys, time\\n"
    code += "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    code += " start_new_session=True)\\nprint('up', flush=True)\\ntime.sleep(600)"
    Trial(folder, [sys.executable, "-c", code], {"TMPDIR": str(scratch_of(folder))}, {})
    while not list(psutil.Process().children(recursive=True)[1:]):
        time.sleep(0.01)
    print(folder, flush=True)
    time.sleep(600)
""".replace("import sys, time", "import psutil, sys, time", 1)


def processes_of(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR", "").startswith(str(folder)):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def test_the_next_check_ends_what_was_left(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        folder = Path(server.stdout.readline().decode().strip())
        assert folder.parent == home
        with trial_folder():
            assert len(processes_of(folder)) == 2, "what still runs is let be"
        server.send_signal(signal.SIGKILL)
    assert len(processes_of(folder)) == 2
    with trial_folder() as other:
        assert other.is_dir()
    give_up = time.monotonic() + 10
    while processes_of(folder) and time.monotonic() < give_up:
        time.sleep(0.01)
    assert processes_of(folder) == []
    assert list(home.iterdir()) == []
