"""A service whose script looks around, and one that downloads when it starts."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import modelyard
from modelyard.domain.service import ServiceState

CURIOUS = """
import os, signal

def seen(path):
    try:
        return os.listdir(path) if os.path.isdir(path) else open(path).read()
    except OSError as error:
        return type(error).__name__

def run(data: dict):
    for pid in data.get("kill", []):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    return {path: seen(path) for path in data["paths"]}
"""

DOWNLOADS = """
import urllib.request

def init():
    global weights
    weights = urllib.request.urlopen("http://127.0.0.1:%d/weights", timeout=10).read().decode()

def run(data: dict):
    return weights
"""


@contextmanager
def a_hub() -> Iterator[int]:
    """Something to download from; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nheavy")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_a_replica_finds_nothing_of_the_home_folder(yard: modelyard.Client, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(CURIOUS)
    image = yard.images.build("curious", models=[], script=tmp_path / "score.py")
    yard.services.deploy("curious", image.reference, replicas=2)
    home = Path(os.environ["MODELYARD_HOME"])
    secrets = ["token", "master.key", "modelyard.db", "agent/token", "agent/replicas", "blobs"]
    paths = [str(home / name) for name in secrets]
    assert all(os.path.exists(path) for path in paths)
    answer = yard.services.score("curious", {"paths": paths, "kill": [os.getpid(), os.getppid()]})
    assert set(answer.values()) == {"FileNotFoundError"}
    log = [line.text for line in yard.services.logs("curious")]
    assert any("sandbox: bubblewrap, without a network" in line for line in log)
    assert yard.services.get("curious").status.state is ServiceState.HEALTHY
    yard.services.delete("curious")


def test_a_download_needs_to_be_allowed(yard: modelyard.Client, tmp_path: Path) -> None:
    with a_hub() as port:
        script = tmp_path / "score.py"
        script.write_text(DOWNLOADS % port)
        with pytest.raises(modelyard.BuildFailed) as unbuilt:
            yard.images.build("hub", models=[], script=script)
        assert unbuilt.value.details["cause"]["code"] == "network_not_allowed"
        image = yard.images.build("hub", models=[], script=script, network="outbound")
        with pytest.raises(modelyard.DeployFailed) as failed:
            yard.services.deploy("hub", image.reference)
        assert failed.value.details["cause"]["code"] == "network_not_allowed"
        yard.services.update("hub", network="outbound")
        assert yard.services.score("hub", {}) == "heavy"
    yard.services.delete("hub")


def test_one_command_allows_it_for_build_and_service(
    yard: modelyard.Client, tmp_path: Path
) -> None:
    with a_hub() as port:
        script = tmp_path / "score.py"
        script.write_text(DOWNLOADS % port)
        deployed = yard.deploy("hub-at-once", script=script, network="outbound")
        assert deployed.service is not None
        assert yard.services.score("hub-at-once", {}) == "heavy"
        script.write_text(DOWNLOADS % port + "\n# another image\n")
        again = yard.deploy("hub-at-once", script=script)
        assert again.service is not None
        assert again.service.settings.network == "outbound", "what is not said stays"
    yard.services.delete("hub-at-once")
