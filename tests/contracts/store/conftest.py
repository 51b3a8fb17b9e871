"""A database with the schema, for every test of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from modelyard.store import Database, Transaction
from modelyard.store.rows import WorkspaceRow


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema, to copy: that is faster than to migrate each time."""
    path = tmp_path_factory.mktemp("migrated") / "modelyard.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def url(migrated: Path, tmp_path: Path) -> str:
    shutil.copy(migrated, tmp_path / "modelyard.db")
    return f"sqlite:///{tmp_path / 'modelyard.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
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
