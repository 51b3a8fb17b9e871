"""How transactions behave, on whatever database."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text, update
from tests.factories import WORKSPACE, add_model

from modelyard.domain.search import Search
from modelyard.errors import Conflict, Unavailable
from modelyard.store import Database, Transaction, dialect
from modelyard.store import database as database_module
from modelyard.store.rows import CounterRow, WorkspaceRow

OLD_OPERATION = """
INSERT INTO operation
    (id, workspace, kind, state, resource, log_lines, created_at, updated_at, created_by)
VALUES ('0123456789abcdef0123456789abcdef', 'default', 'image.build', 'Running', 'image iris:1',
    1, '2026-03-01', '2026-03-01', 'owner')
"""
OLD_LINE = """
INSERT INTO operation_line (operation, sequence, time, source, text)
VALUES (1, 1, '2026-03-01', 'build', 'resolving')
"""


def count(tx: Transaction) -> int:
    return len(tx.models.search(WORKSPACE, Search()).items)


class TestSchema:
    def test_migrations_make_what_the_rows_say(self, tx: Transaction) -> None:
        context = MigrationContext.configure(tx._session.connection())
        assert compare_metadata(context, WorkspaceRow.metadata) == []

    def test_migrating_again_changes_nothing(self, database: Database) -> None:
        with database.write() as tx:
            add_model(tx)
        database.migrate()
        with database.read() as tx:
            assert count(tx) == 1

    def test_bringing_an_old_database_up_to_date_keeps_everything(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Tables are changed by making them anew, which must not take their children away."""
        database = Database(f"sqlite:///{tmp_path / 'old.db'}")
        upgrade = command.upgrade
        with monkeypatch.context() as patch:
            patch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
            database.migrate()
        with database.write() as tx:
            tx._session.execute(text(OLD_OPERATION))
            tx._session.execute(text(OLD_LINE))
        database.migrate()
        with database.read() as tx:
            (operation,) = tx.operations.running()
            assert operation.resource == "image iris:1"
            assert [line.text for line in tx.operations.log(operation.id)] == ["resolving"]
        with pytest.raises(Conflict), database.write() as tx:
            tx._session.execute(text(OLD_LINE.replace("VALUES (1,", "VALUES (99,")))
        database.close()

    def test_a_newer_database_is_refused(self, database: Database) -> None:
        with database.write() as tx:
            tx._session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(Conflict, match="does not fit this version") as refused:
            database.migrate()
        assert "newer version" in refused.value.hint

    def test_an_impossible_value_is_refused_by_the_database(self, database: Database) -> None:
        with database.write() as tx:
            add_model(tx)
        with pytest.raises(Conflict, match="contradicts what is stored"), database.write() as tx:
            tx._session.execute(text("UPDATE model SET format = 'poem'"))


class TestTransactions:
    def test_an_exception_undoes_everything(self, database: Database) -> None:
        with contextlib.suppress(ZeroDivisionError), database.write() as tx:
            add_model(tx)
            raise ZeroDivisionError
        with database.read() as tx:
            assert count(tx) == 0

    def test_a_reader_sees_one_moment(self, database: Database) -> None:
        with database.read() as reader:
            assert count(reader) == 0
            with database.write() as tx:
                add_model(tx)
            assert count(reader) == 0
        with database.read() as reader:
            assert count(reader) == 1

    def test_a_reader_does_not_wait_for_a_writer(self, database: Database) -> None:
        with database.write() as tx:
            add_model(tx)
            with database.read() as reader:
                assert count(reader) == 0

    def test_a_reader_cannot_write(self, database: Database) -> None:
        with pytest.raises(Unavailable, match=r"read-?only"), database.read() as tx:
            tx._session.execute(update(CounterRow).values(last=0))

    def test_what_a_writer_read_stays_true(self, database: Database) -> None:
        """Check and change are one step: no two writers count the same."""

        def register_if_few() -> None:
            for _ in range(5):
                with database.write() as tx:
                    if count(tx) < 7:
                        add_model(tx)

        threads = [threading.Thread(target=register_if_few) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.read() as tx:
            assert count(tx) == 7

    def test_a_writer_gives_up_when_another_does_not_end(
        self, url: str, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dialect, "LOCK_TIMEOUT", 0.1)
        monkeypatch.setattr(database_module, "QUEUE_TIMEOUT", 0.1)
        other = Database(url)
        with database.write() as tx:
            add_model(tx)
            with pytest.raises(Unavailable, match="locked"), other.write() as blocked:
                add_model(blocked)
            with pytest.raises(Unavailable, match="locked"), database.write() as blocked:
                add_model(blocked)
        with other.write() as tx:
            assert add_model(tx).version == 2
        other.close()
