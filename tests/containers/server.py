"""A whole server whose agent uses the engine of the tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.containers.podman import Podman
from tests.e2e.conftest import ROOT

import modelyard


@contextmanager
def a_server(podman: Podman) -> Iterator[modelyard.Client]:
    """A client of it; everything that it started ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="my-"))
    variables = {
        "HOME": str(folder),
        "MODELYARD_HOME": str(folder / "home"),
        "MODELYARD_SERVER_PORT": "0",
        "MODELYARD_GATEWAY_PORT": "0",
        "MODELYARD_WHEELS": str(ROOT / ".wheelhouse"),
        "MODELYARD_ENGINE": f"unix://{podman.socket}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with modelyard.connect() as client:
            try:
                yield client
            finally:
                client.stop_server(everything=True)
    shutil.rmtree(folder, ignore_errors=True)


def containers(podman: Podman) -> list[str]:
    """Names of all containers of the engine."""
    return podman.run("ps", "--all", "--format", "{{.Names}}").split()
