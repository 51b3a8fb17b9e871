from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.client.fake_server import FakeServer

from modelyard.client import Client


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def yard(server: FakeServer) -> Iterator[Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a data scientist has: a model, a script, requirements."""
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04model")
    (tmp_path / "score.py").write_text("def run(data):\n    return data\n")
    (tmp_path / "requirements.txt").write_text("scikit-learn==1.9.1\n")
    return tmp_path
