"""A replica that binds its own sockets, and an image that is started by itself."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.runtime.replica import BASE_PYTHON, PACKAGES, is_alive, replica
from tests.integration.runtime.wire import PATIENCE

from modelyard_runtime.auth import ServiceKey

SCRIPT = """
import json, os, subprocess, sys, time

def run(data):
    if data == '"orphan"':
        # its parent ends at once: the child becomes one of the first process
        child = "import subprocess as s; print(s.Popen(['sleep', '1'], stdout=s.DEVNULL).pid)"
        return int(subprocess.check_output([sys.executable, "-c", child]))
    if data == '"slow"':
        time.sleep(1)
    return [os.getpid(), os.environ["OMP_NUM_THREADS"], os.getcwd()]
"""


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


class Alone:
    """An image in a folder, started with `--image`."""

    def __init__(self, root: Path, script: str = SCRIPT) -> None:
        self.root = root
        self.port = free_port()
        (root / "code").mkdir()
        (root / "models" / "digits" / "1").mkdir(parents=True)
        (root / "code" / "score.py").write_text(script)
        models = [{"name": "digits", "version": 1, "path": "digits/1"}]
        manifest = {"kind": "python", "script": "score.py", "models": models}
        (root / "manifest.json").write_text(json.dumps(manifest))
        self.log = root / "log"

    @contextlib.contextmanager
    def run(self, *prefix: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        environment = {
            "PYTHONPATH": os.pathsep.join(PACKAGES),
            "PATH": os.environ["PATH"],
            "MODELYARD_HOST": "127.0.0.1",
            "MODELYARD_PORT": str(self.port),
            "MODELYARD_WORKERS": "2",
            **variables,
        }
        command = [*prefix, BASE_PYTHON, "-s", "-S", "-P", "-m", "modelyard_runtime"]
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--image", str(self.root / "manifest.json")],
                cwd="/",
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE)

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or b"null")

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=PATIENCE)
                return
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


@pytest.fixture
def alone(tmp_path: Path) -> Alone:
    return Alone(tmp_path)


class TestListening:
    def test_on_a_unix_socket_that_an_earlier_start_left(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        with replica("def run(data): return 1", listen=[f"unix:{path}"]) as running:
            running.socket = str(path)
            assert running.score(1).json() == 1
            assert stat.S_IMODE(path.stat().st_mode) == 0o666

    def test_instead_of_an_inherited_one(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with replica("def run(data): return 1", fd=None, listen=[f"unix:{path}"]) as running:
            running.socket = str(path)
            assert running.score(1).json() == 1

    @pytest.mark.parametrize(
        "address", ["nonsense", "127.0.0.1:99999", "unix:/no/such/folder/s", "[::1]", "a:b:1"]
    )
    def test_on_what_is_no_address(self, address: str) -> None:
        with replica("", ready=False, fd=None, listen=[address]) as running:
            assert running.process.wait(PATIENCE) == 2
            assert address in running.log.read_text()

    def test_does_not_replace_what_is_no_socket(self, tmp_path: Path) -> None:
        path = tmp_path / "precious"
        path.write_text("kept")
        with replica("", ready=False, fd=None, listen=[f"unix:{path}"]) as running:
            assert running.process.wait(PATIENCE) == 2
        assert path.read_text() == "kept"

    def test_on_a_port_that_is_taken(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with replica("", ready=False, fd=None, listen=[address]) as running:
                assert running.process.wait(PATIENCE) == 2
                assert address in running.log.read_text()


class TestImage:
    def test_serves_and_drains(self, alone: Alone) -> None:
        with alone.run() as process:
            alone.wait_until_ready()
            pid, threads, folder = alone.ask("/score", b"1")
            assert is_alive(pid)
            assert int(threads) >= 1
            assert folder == str(alone.root / "code")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        assert f"127.0.0.1:{alone.port}" in alone.log.read_text()

    def test_writes_no_file(self, alone: Alone) -> None:
        before = sorted(alone.root.rglob("*"))
        with alone.run(PYTHONDONTWRITEBYTECODE="1"):
            alone.wait_until_ready()
            alone.ask("/score", b"1")
        assert sorted(alone.root.rglob("*")) == sorted({*before, alone.log})

    def test_checks_keys(self, alone: Alone) -> None:
        key = ServiceKey("a" * 16, "b" * 43)
        keys = alone.root / "keys.json"
        keys.write_text(json.dumps([{"id": key.id, "hash": key.hash}]))
        with alone.run(MODELYARD_KEYS_FILE=str(keys)):
            alone.wait_until_ready()
            with pytest.raises(urllib.error.HTTPError, match="401"):
                alone.ask("/score", b"1")
            assert alone.ask("/score", b"1", Authorization=f"Bearer {key.text}")

    def test_tells_of_a_wrong_variable(self, alone: Alone) -> None:
        with alone.run(MODELYARD_WORKERS="many") as process:
            assert process.wait(PATIENCE) == 2
        assert "MODELYARD_WORKERS" in alone.log.read_text()

    def test_tells_why_it_did_not_start(self, tmp_path: Path) -> None:
        alone = Alone(tmp_path, "def init(): raise RuntimeError('no weights')\ndef run(d): ...")
        with alone.run() as process:
            assert process.wait(PATIENCE) == 3
        assert "no weights" in alone.log.read_text()


def why_no_first_process() -> str:
    """Why no process can be the first of a namespace here; nothing where it can."""
    if not shutil.which("unshare"):
        return "needs unshare (Linux)"
    done = subprocess.run([*FIRST, "true"], capture_output=True)
    return "" if done.returncode == 0 else f"needs process namespaces: {done.stderr.decode()}"


FIRST = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
WHY_NOT = why_no_first_process()


@pytest.mark.skipif(bool(WHY_NOT) and not os.environ.get("CI"), reason=WHY_NOT)
class TestFirstProcess:
    """What a container makes it: process 1, which the kernel treats in its own way."""

    def test_drains_at_sigterm(self, alone: Alone) -> None:
        with alone.run(*FIRST) as process:
            alone.wait_until_ready()
            os.kill(first_of(process.pid), signal.SIGTERM)
            assert process.wait(PATIENCE) == 0

    def test_buries_orphans(self, alone: Alone) -> None:
        with alone.run(*FIRST) as process:
            alone.wait_until_ready()
            first = first_of(process.pid)
            alone.ask("/score", b'"orphan"')
            wait_until(lambda: "sleep" in children(first).values())
            wait_until(lambda: "sleep" not in children(first).values())

    def test_tells_the_signal_that_ended_the_loader(self, tmp_path: Path) -> None:
        script = "import os\ndef init(): os.kill(os.getpid(), 9)\ndef run(data): ..."
        with Alone(tmp_path, script).run(*FIRST) as process:
            assert process.wait(PATIENCE) == 128 + signal.SIGKILL


def first_of(outside: int) -> int:
    """Process 1 of the namespace that this process has made."""
    wait_until(lambda: bool(children(outside)))
    return next(iter(children(outside)))


def children(parent: int) -> dict[int, str]:
    """Names of the children of a process by their pids, zombies included."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, fields = re.fullmatch(  # type: ignore[union-attr]
                r"\d+ \((.*)\) (.*)", (folder / "stat").read_text().strip()
            ).groups()
            if fields.split()[1] == str(parent):
                found[int(folder.name)] = name
    return found


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
