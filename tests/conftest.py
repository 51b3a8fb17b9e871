"""What all tests share: a mark from the folder, no network, a home of their own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket
from tests.containers.podman import Podman, a_podman

from modelyard.agent.engine.host import Engines

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(item.path.relative_to(TESTS).parts[0])


@pytest.fixture(autouse=True)
def _network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unit tests open no socket but the pair an event loop needs; the rest stays on loopback."""
    if request.node.get_closest_marker("unit"):
        pytest_socket.disable_socket(allow_unix_socket=True)
    else:
        pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
    pytest_socket._remove_restrictions()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home folder with a short path, because paths of Unix sockets are limited."""
    folder = Path(tempfile.mkdtemp(prefix="my-"))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("MODELYARD_HOME", str(folder / "home"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """A container engine for the whole run of a process, with storage of its own.

    Its folder has a short path, because podman takes no `--runroot` of more than 50 characters.
    """
    with (
        tempfile.TemporaryDirectory(prefix="my-", ignore_cleanup_errors=True) as folder,
        a_podman(Path(folder)) as podman,
    ):
        yield podman


@pytest.fixture
def engines(podman: Podman) -> Engines:
    """Finds that engine."""
    return Engines(str(podman.socket))
