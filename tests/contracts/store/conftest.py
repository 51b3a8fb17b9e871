"""Every test of this folder runs on every database that is here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import insert

from modelyard.store import Database, Transaction
from modelyard.store.rows import WorkspaceRow

NUMBERS = count()
DATABASES = ["sqlite"]
if importlib.util.find_spec("psycopg") is not None and shutil.which("initdb") is not None:
    DATABASES.append("postgresql")


class Cluster:
    """A PostgreSQL server of the test run's own, on a Unix socket, gone afterwards."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # The server refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None

    def __enter__(self) -> Cluster:
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "--no-sync", "--auth=trust", "--username=modelyard", "--encoding=UTF8")
        # A test database never has to survive a crash, and fsync dominates the cost of a commit.
        options = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c fsync=off"
        self._run("pg_ctl", "start", "--wait", "--log", str(self._folder / "log"), "-o", options)
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "stop", "--mode=immediate")

    def new_database(self) -> str:
        name = f"modelyard{next(NUMBERS)}"
        self._run("createdb", "--host", str(self._folder), "--username=modelyard", name)
        return f"postgresql+psycopg://modelyard@/{name}?host={self._folder}"

    def _run(self, *command: str) -> None:
        subprocess.run(
            command,
            env={**os.environ, "PGDATA": str(self._folder / "data")},
            user=self._user,
            cwd=self._folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="my-pg-"))
    try:
        with Cluster(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema, to copy: that is faster than to migrate each time."""
    path = tmp_path_factory.mktemp("migrated") / "modelyard.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        migrated: Path = request.getfixturevalue("migrated")
        shutil.copy(migrated, tmp_path / "modelyard.db")
        return f"sqlite:///{tmp_path / 'modelyard.db'}"
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.new_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    if not url.startswith("sqlite"):
        opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def tx(database: Database) -> Iterator[Transaction]:
    """One writing transaction around the whole test."""
    with database.write() as transaction:
        yield transaction


@pytest.fixture
def elsewhere(tx: Transaction) -> str:
    """A second workspace."""
    values = {"name": "elsewhere", "created_at": tx._clock()}
    tx._session.execute(insert(WorkspaceRow).values(values))
    return "elsewhere"
