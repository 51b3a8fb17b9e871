"""What differs between SQLite and PostgreSQL: connections, transactions, error codes.

The only module that knows which database it is talking to.
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from modelyard.errors import (
    Conflict,
    InsufficientStorage,
    IntegrityError,
    InvalidRequest,
    ModelyardError,
    Unavailable,
)

WRITING = "modelyard_writing"
"""Execution option of connections that may write."""

MIGRATING = "modelyard_migrating"
"""Execution option of the connection that changes tables: it checks foreign keys at its end."""

LOCK_TIMEOUT = 5.0
"""Longest wait in seconds for the database while another process writes."""

_ADVISORY_LOCK = 0x6D6F_6465_6C79_6172
_SQLITE_BUSY = frozenset({5, 6})
_SQLITE_UNWELL = frozenset({8, 10, 14})
_SQLITE_FULL = 13
_SQLITE_DAMAGED = frozenset({11, 26})
_SQLITE_CONSTRAINT = 19
_POSTGRES_LOCKED = "55P03"
_POSTGRES_UNWELL = ("08", "25006", "40", "57P")
_POSTGRES_FULL = ("53100",)
_POSTGRES_CONSTRAINT = ("23",)


def connect(url: str) -> Engine:
    """An engine whose transactions behave alike on every database.

    Raises:
        InvalidRequest: The address names a database that is not supported.
        Unavailable: The database file cannot be opened.
    """
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        return _connect_sqlite(address)
    if address.get_backend_name() == "postgresql":
        return _connect_postgresql(address)
    raise InvalidRequest(
        f"`{address.get_backend_name()}` is not a supported database",
        hint="use `sqlite:///…` or `postgresql+psycopg://…`",
    )


def _connect_sqlite(address: URL) -> Engine:
    if address.database:
        _make_private(address.database)
    engine = create_engine(address, connect_args={"timeout": LOCK_TIMEOUT}, pool_size=8)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(path: str) -> None:
    """Make the file before SQLite does: hashes of tokens are inside, and its log takes its mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Unavailable(
            f"cannot open the database file {path}: {error.strerror}",
            hint="make its folder, and let the server write there",
        ) from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would begin transactions by itself, late and deferred.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(LOCK_TIMEOUT * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "cache_size=-16384",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get(WRITING, False)
    # A table is changed by making it anew, and dropping the old one would empty its children.
    migrating = connection.get_execution_options().get(MIGRATING, False)
    connection.exec_driver_sql(f"PRAGMA foreign_keys={'OFF' if migrating else 'ON'}")
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writing else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def check_foreign_keys(connection: Connection) -> None:
    """Refuse a migration that left references to nothing.

    Raises:
        IntegrityError: It did; the transaction must be undone.
    """
    if connection.dialect.name != "sqlite":
        return  # it checks all the time
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        tables = ", ".join(sorted({str(row[0]) for row in broken}))
        raise IntegrityError(
            f"bringing the database up to date broke references in {tables}",
            hint="nothing was changed; restore a backup, or report this",
        )


def _connect_postgresql(address: URL) -> Engine:
    engine = create_engine(address, isolation_level="REPEATABLE READ", pool_pre_ping=True)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _begin_postgresql(connection: Connection) -> None:
    """One writer at a time, as on SQLite: what a transaction read is true when it writes."""
    if not connection.get_execution_options().get(WRITING, False):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        return
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{int(LOCK_TIMEOUT * 1000)}ms'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")


def translate(error: DBAPIError) -> ModelyardError:
    """What a failure of the database means to a caller."""
    sqlite_code = getattr(error.orig, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return _translate_sqlite(sqlite_code & 0xFF, str(error.orig))
    return _translate_postgresql(getattr(error.orig, "sqlstate", None) or "08", str(error.orig))


def _translate_sqlite(code: int, message: str) -> ModelyardError:
    if code in _SQLITE_BUSY:
        return locked()
    if code == _SQLITE_FULL:
        return _full()
    if code in _SQLITE_UNWELL:
        return _unwell(message)
    if code in _SQLITE_DAMAGED:
        return IntegrityError(
            f"the database file is damaged: {message}", hint="restore it from a backup"
        )
    if code == _SQLITE_CONSTRAINT:
        return _constraint(message)
    return ModelyardError(f"the database refused a statement: {message}")


def _translate_postgresql(state: str, message: str) -> ModelyardError:
    if state.startswith(_POSTGRES_FULL):
        return _full()
    if state == _POSTGRES_LOCKED:
        return locked()
    if state.startswith(_POSTGRES_UNWELL):
        return _unwell(message)
    if state.startswith(_POSTGRES_CONSTRAINT):
        return _constraint(message)
    return ModelyardError(f"the database refused a statement: {message}")


def locked(seconds: float = LOCK_TIMEOUT) -> Unavailable:
    """Others have been writing for too long."""
    return Unavailable(
        f"the database has been locked by other writers for {seconds:.0f} seconds",
        hint="try again; if it stays, look for another program that has the database file open",
    )


def _full() -> InsufficientStorage:
    return InsufficientStorage(
        "the disk of the database is full", hint="free some space and try again"
    )


def _unwell(message: str) -> Unavailable:
    return Unavailable(
        f"the database cannot be used at the moment: {message}",
        hint="check the disk and the database, then try again",
    )


def _constraint(message: str) -> Conflict:
    return Conflict(
        f"the change contradicts what is stored: {message}",
        hint="look at the present state and try again",
    )
