"""Places of captured records: a folder, and a real S3 server behind one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.captured import an_agent, open_database, send_small_files
from tests.stores import StoreServer, environment_of

from modelyard.capture.remote import RemoteFiles, store_at
from modelyard.control.captures import Captures
from modelyard.domain.captured import Segment
from modelyard.domain.principal import Principal
from modelyard.store import Database

_prefixes = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    server = StoreServer(tmp_path_factory.mktemp("store"))
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        environment_of(server, patch)
        yield server
    server.kill()


@pytest.fixture
def url(server: StoreServer) -> str:
    return f"s3://captured/tests/{next(_prefixes)}"


@pytest.fixture
def remote(url: str, tmp_path: Path) -> RemoteFiles:
    return RemoteFiles(store_at(url), url, tmp_path / "captured", 1 << 30)


@pytest.fixture
def agent() -> Principal:
    return an_agent()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path)


@pytest.fixture
def sealed(captures: Captures, agent: Principal, tmp_path: Path) -> list[Segment]:
    return send_small_files(captures, agent, tmp_path / "host")
