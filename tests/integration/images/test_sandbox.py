"""Hostile scripts and pickles in every sandbox that this host has: what they can reach."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.integration.images.conftest import Workshop

from modelyard.domain.service import Network
from modelyard.errors import BuildFailed
from modelyard.images.sandbox import cell as cell_module
from modelyard.images.sandbox import choosing, confine, system_files
from modelyard.images.sandbox.cell import Cell, KernelLimits, Sandbox, SandboxKind
from modelyard.images.sandbox.choosing import host_sandbox
from modelyard.settings import SandboxMode

LIMITS = KernelLimits(file_size=1 << 20, processes=100)
ALL = list(choosing._candidates([])) if sys.platform == "linux" else []
SOUND = [sandbox for sandbox in ALL if sandbox.sound]
BUBBLEWRAP = Sandbox(SandboxKind.BUBBLEWRAP, own_network=True, counts_processes=True)
LANDLOCK = Sandbox(SandboxKind.LANDLOCK)
FOR_USERS = [
    replace(BUBBLEWRAP, no_namespaces=True),
    BUBBLEWRAP,
    replace(LANDLOCK, own_network=True, counts_processes=True),
    replace(LANDLOCK, no_tcp=True),
]
SYSTEM_PYTHON = Path("/usr/bin/python3")
NOBODY = 65_534
NAMESPACED = [sandbox for sandbox in ALL if sandbox.kind is SandboxKind.BUBBLEWRAP]

ATTEMPTS = """
import json, os, resource, signal, socket, sys
outside = json.loads(sys.argv[1])

def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return type(error).__name__

def connect(port):
    with socket.create_connection(("127.0.0.1", port), 5):
        return "connected"

def connect_unix(path):
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect(path)

def write(path):
    with open(path, "w") as file:
        return file.write("x")

def leak():
    kept = []
    try:
        while len(kept) < 100_000:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for descriptor in kept:
            os.close(descriptor)

def flood():
    with open("flood", "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 16))
            file.flush()

def bomb():
    children = []
    try:
        while len(children) < 1000:
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

seen = {f"read {path}": attempt(lambda: open(path).read()) for path in outside["secrets"]}
seen |= {f"list {path}": attempt(lambda: os.listdir(path)) for path in outside["folders"]}
seen["write outside"] = attempt(lambda: write(outside["folders"][0] + "/planted"))
seen["write the code"] = attempt(lambda: write(outside["code"] + "/score.py"))
seen["connect"] = attempt(lambda: connect(outside["port"]))
seen["kill"] = attempt(lambda: os.kill(outside["pid"], signal.SIGKILL))
seen["memory"] = attempt(lambda: open(f"/proc/{outside['pid']}/mem", "rb").read(1))
seen["variables"] = attempt(lambda: open(f"/proc/{outside['pid']}/environ").read())
seen["kernel"] = attempt(lambda: write("/proc/sys/kernel/core_pattern"))
seen["root"] = attempt(lambda: os.setuid(0)) if os.getuid() else "PermissionError"
seen["leak"] = attempt(leak)
seen["flood"] = attempt(flood)
if "unix" in outside:
    seen["connect unix"] = attempt(lambda: connect_unix(outside["unix"]))
if outside["bomb"]:
    seen["bomb"] = attempt(bomb)
seen["own file"] = attempt(lambda: write("own"))
print(json.dumps(seen))
"""
ALLOWED = {"own file"}


@dataclass
class Prey:
    """What there is to reach on the host: files, a listener, a process."""

    folder: Path
    port: int
    pid: int

    @property
    def secrets(self) -> list[str]:
        return [str(self.folder / name) for name in ("home/.ssh/id_rsa", "home/token", "shadow")]


@pytest.fixture
def prey(tmp_path: Path) -> Iterator[Prey]:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        subprocess.Popen(command, env={"SECRET": "42"}) as victim,
    ):
        found = Prey(tmp_path, listener.getsockname()[1], victim.pid)
        for secret in found.secrets:
            Path(secret).write_text("secret")
        yield found
        assert victim.poll() is None, "it was killed"
        victim.kill()


def a_cell(sandbox: Sandbox, folder: Path, network: Network = Network.NONE) -> Cell:
    cell = Cell(sandbox, folder / "replica", {}, network, LIMITS)
    cell.prepare("{}")
    return cell


def run(
    cell: Cell, program: str, *arguments: str, user: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Python program inside; it ends with the test whatever it does."""
    python, _ = cell_module.base_python()
    return subprocess.run(
        cell.command([str(python), "-I", "-S", "-c", program, *arguments]),
        capture_output=True,
        text=True,
        timeout=120,
        env={"TMPDIR": str(cell.inside.scratch)},
        check=False,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )


def attempts(cell: Cell, prey: Prey, *, user: int | None = None, **more: Any) -> dict[str, str]:
    outside = {
        "secrets": prey.secrets,
        "folders": [str(prey.folder / "home"), str(cell.folder.parent)],
        "code": str(prey.folder),
        "port": prey.port,
        "pid": prey.pid,
        "bomb": cell.sandbox.counts_processes,
        **more,
    }
    done = run(cell, ATTEMPTS, json.dumps(outside), user=user)
    assert done.returncode == 0, done.stderr
    seen: dict[str, str] = json.loads(done.stdout)
    return seen


def name(sandbox: Sandbox) -> str:
    traits = ("own_user", "own_network", "no_tcp", "no_namespaces")
    return "-".join([sandbox.kind, *(trait for trait in traits if getattr(sandbox, trait))])


def test_this_host_has_what_these_tests_are_about() -> None:
    if sys.platform != "linux":
        pytest.skip("there is no sandbox on this system")
    found = host_sandbox(SandboxMode.AUTO)
    assert found.kind is SandboxKind.BUBBLEWRAP, found.missing
    assert {sandbox.kind for sandbox in SOUND} >= {SandboxKind.BUBBLEWRAP}
    assert found.own_user == (os.geteuid() == 0)


@pytest.mark.parametrize("sandbox", SOUND, ids=name)
def test_nothing_of_the_host_is_reached(sandbox: Sandbox, prey: Prey) -> None:
    seen = attempts(a_cell(sandbox, prey.folder), prey)
    reached = {what: saw for what, saw in seen.items() if not saw.endswith("Error")}
    assert reached.keys() == ALLOWED, reached
    assert ("bomb" in seen) == sandbox.counts_processes


def as_somebody_else(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A place for a user who is not root, and who may not read what root's Python is made of."""
    folder.chmod(0o755)
    launcher = folder / "confine.py"
    launcher.write_bytes(Path(confine.__file__).read_bytes())
    launcher.chmod(0o644)
    patch.setattr(confine, "__file__", str(launcher))
    patch.setattr(cell_module, "base_python", lambda: (SYSTEM_PYTHON, ""))
    patch.setattr(system_files, "_interpreter", list)
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests above are those of a user already")
@pytest.mark.parametrize("sandbox", FOR_USERS, ids=name)
def test_nothing_of_the_host_is_reached_when_a_user_started_it(
    sandbox: Sandbox, prey: Prey, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = as_somebody_else(home, monkeypatch)
    cell = a_cell(sandbox, folder)
    for path in (cell.folder, *cell.folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    seen = attempts(cell, prey, user=NOBODY)
    reached = {what: saw for what, saw in seen.items() if not saw.endswith("Error")}
    assert reached.keys() == ALLOWED, reached


@pytest.mark.parametrize("sandbox", NAMESPACED, ids=name)
def test_sockets_and_processes_of_the_host_are_not_even_there(
    sandbox: Sandbox, prey: Prey, home: Path
) -> None:
    path = home / "supervisor.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        seen = attempts(a_cell(sandbox, prey.folder), prey, unix=str(path))
    assert seen["connect unix"] == "FileNotFoundError"
    assert seen["kill"] == "ProcessLookupError"
    assert {seen[f"read {secret}"] for secret in prey.secrets} == {"FileNotFoundError"}


def test_all_of_it_is_reached_without_one(prey: Prey) -> None:
    """The attempts are real: they succeed where nothing is in their way."""
    outside = a_cell(Sandbox(SandboxKind.NONE), prey.folder)
    program = ATTEMPTS.replace("os.kill(outside['pid'], signal.SIGKILL)", "0")
    program = program.replace('seen["leak"]', "# ").replace('seen["kernel"]', "# ")
    program = program.replace('os.kill(outside["pid"], signal.SIGKILL)', "0")
    document = {
        "secrets": prey.secrets,
        "folders": [str(prey.folder / "home")],
        "code": str(prey.folder),
        "port": prey.port,
        "pid": prey.pid,
        "bomb": False,
    }
    done = subprocess.run(
        outside.command([sys.executable, "-c", program, json.dumps(document)]),
        capture_output=True,
        text=True,
        cwd=prey.folder,
        check=True,
    )
    seen = json.loads(done.stdout)
    refused = {what for what, saw in seen.items() if saw.endswith("Error")}
    assert refused <= {"root", "memory"}, refused
    assert seen["connect"] == "'connected'"
    assert "SECRET=42" in seen["variables"]


@pytest.mark.parametrize("sandbox", ALL, ids=name)
def test_the_network_can_be_allowed(sandbox: Sandbox, prey: Prey) -> None:
    seen = attempts(a_cell(sandbox, prey.folder, Network.OUTBOUND), prey)
    assert seen["connect"] == "'connected'"
    assert seen[f"read {prey.secrets[0]}"].endswith("Error")


@pytest.mark.parametrize("sandbox", NAMESPACED, ids=name)
def test_what_is_left_behind_ends(sandbox: Sandbox, prey: Prey) -> None:
    mark = f"left-{os.urandom(8).hex()}"
    program = f"""
import subprocess, sys
sleeper = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)", {mark!r}]
subprocess.Popen(sleeper, start_new_session=True)
"""
    assert run(a_cell(sandbox, prey.folder), program).returncode == 0

    def left() -> list[psutil.Process]:
        found = psutil.process_iter(["cmdline"])
        return [process for process in found if mark in (process.info["cmdline"] or ())]

    deadline = threading.Event()
    for _ in range(500):
        if not left():
            break
        deadline.wait(0.02)
    assert left() == []


def test_a_link_in_place_of_its_status_leads_nowhere(workshop: Workshop, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"phase": "ready", "cause": None, "last_failure": None}))
    script = f"""
import glob, os
def init():
    for path in glob.glob(os.environ["TMPDIR"] + "/../status/*"):
        os.unlink(path)
        os.symlink({str(secret)!r}, path)
def run(data):
    return 1
"""
    assert workshop.check(script, {}).answer == 1


def test_nothing_is_started_where_a_sandbox_is_required_and_missing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = Sandbox(SandboxKind.LIMITS, missing=("bubblewrap is not installed",))
    monkeypatch.setattr(choosing, "host_sandbox", lambda mode: poor)
    with pytest.raises(BuildFailed) as failed:
        workshop.check("def run(data):\n    return 1\n", {}, sandbox=SandboxMode.REQUIRED)
    cause = failed.value.details["cause"]
    assert cause["code"] == "no_sandbox"
    assert "bubblewrap is not installed" in cause["evidence"]
    assert not any(source == "check" for source, _ in workshop.lines)


class AnyCode:
    """A pickle that runs a program of its own when it is loaded."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, (self._program,)


def test_a_hostile_pickle_steals_nothing(workshop: Workshop, tmp_path: Path) -> None:
    database = workshop.home / "modelyard.db"
    database.write_text("secret")
    program = f"import builtins; builtins.seen = __import__('os').path.exists({str(database)!r})"
    content = pickle.dumps(AnyCode(program))
    script = f"""
import builtins, pickle
def init():
    pickle.loads({content!r})
def run(data):
    return {{"database": builtins.seen}}
"""
    assert workshop.check(script, {}).answer == {"database": False}


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def downloads(port: int) -> str:
    return f"""
import urllib.request
def init():
    try:
        urllib.request.urlopen("http://127.0.0.1:{port}/weights", timeout=1)
    except TimeoutError:
        pass  # it was there
def run(data):
    return "ready"
"""


def test_a_download_at_the_start_is_named_and_can_be_allowed(workshop: Workshop) -> None:
    with listening() as port:
        with pytest.raises(BuildFailed) as failed:
            workshop.check(downloads(port), {})
        cause = failed.value.details["cause"]
        assert cause["code"] == "network_not_allowed"
        assert "score.py, line" in cause["message"]
        assert "--network outbound" in cause["fix"]
        assert workshop.check(downloads(port), {}, network=Network.OUTBOUND).answer == "ready"


def test_a_name_that_cannot_be_resolved_is_named(workshop: Workshop) -> None:
    script = downloads(1).replace("127.0.0.1:1", "weights.example")
    with pytest.raises(BuildFailed) as failed:
        workshop.check(script, {})
    assert failed.value.details["cause"]["code"] == "network_not_allowed"
