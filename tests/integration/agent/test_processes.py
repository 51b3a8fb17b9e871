"""Both ways of looking at processes, on this system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from tests.integration.agent.fake_server import wait_for

from modelyard.agent.supervisor import proc, processes, ps

BACKENDS = [
    pytest.param(proc, marks=pytest.mark.skipif(sys.platform != "linux", reason="no /proc")),
    pytest.param(ps, marks=pytest.mark.skipif(shutil.which("ps") is None, reason="no ps")),
]
SLEEPER = "import time; held = b'x' * (40 << 20); print(flush=True); time.sleep(600)"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child of its own that uses 40 MiB."""
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPER!r}])"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    yield process
    processes._kill([*proc.descendants(process.pid), process.pid])
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("system", BACKENDS)
def test_descendants_are_found(system: ModuleType, child: subprocess.Popen[bytes]) -> None:
    [grandchild] = system.descendants(child.pid)
    assert {child.pid, grandchild} <= set(system.descendants(os.getpid()))
    assert system.descendants(grandchild) == []


@pytest.mark.parametrize("system", BACKENDS)
def test_memory_is_measured(system: ModuleType, child: subprocess.Popen[bytes]) -> None:
    [grandchild] = system.descendants(child.pid)
    wait_for(lambda: system.resident([grandchild]) > 40 << 20)
    assert system.resident([grandchild]) < 200 << 20
    assert system.resident([]) == 0
    exact = system.proportional([grandchild])
    assert exact is None or 40 << 20 < exact < 200 << 20


@pytest.mark.parametrize("system", BACKENDS)
def test_command_lines_are_read(system: ModuleType, child: subprocess.Popen[bytes]) -> None:
    [grandchild] = system.descendants(child.pid)
    lines = dict(system.command_lines())
    assert "held = b'x'" in lines[grandchild]
    assert lines[child.pid] != lines[grandchild]


@pytest.mark.parametrize("system", BACKENDS)
def test_ended_processes_are_no_error(system: ModuleType) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert system.descendants(ended.pid) == []
    assert system.resident([ended.pid]) == 0
    assert not system.proportional([ended.pid])
