"""A real image registry on this machine: Debian's `docker-registry`."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.programs import program

PATIENCE = 30.0


class DebianRegistry:
    """One that runs; `host` is how images name it."""

    def __init__(self, host: str, root: Path) -> None:
        self.host = host
        self.root = root

    def blobs(self) -> set[str]:
        """Digests of everything it keeps."""
        folder = self.root / "docker/registry/v2/blobs/sha256"
        return {f"sha256:{path.name}" for path in folder.glob("*/*")}


@contextlib.contextmanager
def debian_registry(folder: Path, htpasswd: str | None = None) -> Iterator[DebianRegistry]:
    """Start one that keeps its files in `folder`; with `htpasswd` it lets in who is there."""
    command = program("docker-registry")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{holder.getsockname()[1]}"
    root = folder / "registry"
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(root)}},
        "http": {"addr": host},
    }
    if htpasswd is not None:
        (folder / "htpasswd").write_text(htpasswd)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    path = folder / "registry.yml"
    path.write_text(json.dumps(config))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([command, "serve", str(path)], stdout=log, stderr=log)
    try:
        _wait(host, folder / "registry.log")
        yield DebianRegistry(host, root)
    finally:
        process.kill()
        process.wait(PATIENCE)


def _wait(host: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"http://{host}/v2/", timeout=PATIENCE).close()
            return
        except urllib.error.HTTPError:
            return  # it answers, and wants to know who asks
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
