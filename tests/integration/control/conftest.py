"""What tests of captured records stand on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.captured import KEY, PRIVATE, an_agent, open_database, send_small_files

from modelyard.capture.files import CapturedFiles
from modelyard.control.captures import Captures
from modelyard.control.rewriting import Rewriting
from modelyard.domain.captured import Segment
from modelyard.domain.principal import Principal
from modelyard.store import Database


@pytest.fixture
def agent() -> Principal:
    return an_agent()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path)


@pytest.fixture
def sealed(captures: Captures, agent: Principal, tmp_path: Path) -> list[Segment]:
    return send_small_files(captures, agent, tmp_path / "host")


@pytest.fixture
def captures(database: Database, tmp_path: Path) -> Captures:
    return Captures(database, CapturedFiles(tmp_path / "captured"), tmp_path / "answers", PRIVATE)


@pytest.fixture
def rewriting(database: Database, tmp_path: Path) -> Rewriting:
    files = CapturedFiles(tmp_path / "captured")
    return Rewriting(database, files, tmp_path / "answers", KEY, PRIVATE)
