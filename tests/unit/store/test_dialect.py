"""What failures of a database mean to a caller."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from modelyard.errors import (
    Conflict,
    InsufficientStorage,
    IntegrityError,
    InvalidRequest,
    ModelyardError,
    Unavailable,
)
from modelyard.store import Database
from modelyard.store.dialect import translate


class DriverError(Exception):
    """An error as the drivers raise them."""

    def __init__(self, *, sqlite: int | None = None, state: str | None = None) -> None:
        super().__init__("what the driver said")
        if sqlite is not None:
            self.sqlite_errorcode = sqlite
        self.sqlstate = state


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (sqlite3.SQLITE_BUSY, Unavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Unavailable),
        (sqlite3.SQLITE_LOCKED, Unavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, Unavailable),
        (sqlite3.SQLITE_CANTOPEN, Unavailable),
        (sqlite3.SQLITE_READONLY, Unavailable),
        (sqlite3.SQLITE_FULL, InsufficientStorage),
        (sqlite3.SQLITE_CORRUPT, IntegrityError),
        (sqlite3.SQLITE_NOTADB, IntegrityError),
        (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, Conflict),
        (sqlite3.SQLITE_ERROR, ModelyardError),
    ],
)
def test_sqlite(code: int, meaning: type[ModelyardError]) -> None:
    assert type(translate(OperationalError("", {}, DriverError(sqlite=code)))) is meaning


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("55P03", Unavailable),
        ("40001", Unavailable),
        ("57P01", Unavailable),
        ("08006", Unavailable),
        (None, Unavailable),
        ("25006", Unavailable),
        ("53100", InsufficientStorage),
        ("23503", Conflict),
        ("42601", ModelyardError),
    ],
)
def test_postgresql(state: str | None, meaning: type[ModelyardError]) -> None:
    assert type(translate(OperationalError("", {}, DriverError(state=state)))) is meaning


def test_other_databases_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="`mysql` is not a supported database"):
        Database("mysql://localhost/modelyard")
