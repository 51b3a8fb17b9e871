"""A full disk refuses changes with the right error; what is there can still be read."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from sqlalchemy import event
from tests.factories import WORKSPACE, add_model

from modelyard.domain.search import Search
from modelyard.errors import InsufficientStorage, IntegrityError, Unavailable
from modelyard.store import Database


def register(database: Database) -> None:
    with database.write() as tx:
        add_model(tx, description="x" * 9000)


def count(database: Database) -> int:
    with database.read() as tx:
        return len(tx.models.search(WORKSPACE, Search(limit=1000)).items)


def test_a_database_that_cannot_grow(tmp_path: Path) -> None:
    path = tmp_path / "modelyard.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    pages = path.stat().st_size // 4096 + 8

    def limit(connection: object, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")  # type: ignore[attr-defined]

    event.listen(database._engine, "connect", limit)
    added = 0
    with contextlib.suppress(InsufficientStorage):
        while added < 50:
            register(database)
            added += 1
    assert 0 < added < 50
    with pytest.raises(InsufficientStorage, match="disk of the database is full"):
        register(database)
    assert count(database) == added
    database.close()


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot open the database file"):
        Database(f"sqlite:///{tmp_path / 'missing' / 'modelyard.db'}")


def test_a_database_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "modelyard.db"
    path.write_bytes(b"no database" * 1000)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(IntegrityError, match="damaged"):
        database.migrate()
    database.close()
