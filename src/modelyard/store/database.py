"""Opens the database, brings its schema up to date, hands out transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from modelyard.errors import Conflict, Unavailable
from modelyard.store import dialect
from modelyard.store.rows import WorkspaceRow
from modelyard.store.transaction import Transaction

DEFAULT_WORKSPACE = "default"

QUEUE_TIMEOUT = 30.0
"""Longest wait in seconds for the other threads that write: a queue that moves, unlike a lock."""


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


class Database:
    """The metadata of everything; may be used by several threads and processes at once."""

    def __init__(self, url: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        """Open `sqlite:///<path>`; a missing file is made, with no tables yet: call `migrate`."""
        self._engine = dialect.connect(url)
        self._writing = self._engine.execution_options(**{dialect.WRITING: True})
        self._clock = clock
        # SQLite lets writers poll; threads of one process rather queue.
        self._writer = threading.Lock()

    def migrate(self) -> None:
        """Bring the schema to this version's, and make the workspace `default`; repeatable.

        Raises:
            Conflict: The database was made by a newer version.
        """
        config = Config()
        scripts = str(Path(__file__).parent / "migrations")
        config.set_main_option("script_location", scripts.replace("%", "%%"))
        migrating = self._writing.execution_options(**{dialect.MIGRATING: True})
        with self._translated(), self._turn(), migrating.begin() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise Conflict(
                    f"the database does not fit this version: {error}",
                    hint="a newer version made it: install that one, or restore a backup",
                ) from error
            dialect.check_foreign_keys(connection)
            missing = not connection.scalar(
                select(WorkspaceRow.name).where(WorkspaceRow.name == DEFAULT_WORKSPACE)
            )
            if missing:
                connection.execute(
                    insert(WorkspaceRow).values(name=DEFAULT_WORKSPACE, created_at=self._clock())
                )

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that may change things, one at a time; an exception undoes all of it.

        What is read inside is true until it ends, so check and change need no further lock. Do no
        network or file work inside, and begin no other `write` from within.

        Raises:
            Unavailable: Another process has been writing for 5 seconds, or other threads of this
                one for 30.
            InsufficientStorage: The disk is full.
        """
        with (
            self._translated(),
            self._turn(),
            Session(self._writing) as session,
            session.begin(),
        ):
            yield Transaction(session, self._clock)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that sees one moment and changes nothing; never waits for a writer."""
        with self._translated(), Session(self._engine) as session, session.begin():
            yield Transaction(session, self._clock)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._writer.acquire(timeout=QUEUE_TIMEOUT):
            raise dialect.locked(QUEUE_TIMEOUT)
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlalchemy.exc.DBAPIError as error:
            raise dialect.translate(error) from error
        except sqlalchemy.exc.TimeoutError as error:
            raise Unavailable(
                "every database connection is in use", hint="try again in a moment"
            ) from error
