"""Collection of blobs, interleaved with everything else and cut off anywhere.

Whatever happens in whatever order: the bytes of every registered model are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete

from modelyard.blobs import LocalBlobs
from modelyard.domain.model import ModelFile, ModelFormat
from modelyard.domain.search import Search
from modelyard.domain.values import Reference
from modelyard.errors import NotFound, Unavailable
from modelyard.schemas import FileReference, RegisterModel
from modelyard.store import Database
from modelyard.store.rows import BlobRow, ModelRow

LEASE = timedelta(hours=1)
CONTENT = b"the one file that everybody fights about"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
FILE = ModelFile(path="m", digest=DIGEST, size=len(CONTENT))
REQUEST = RegisterModel(name="iris", files=(FileReference(path="m", digest=DIGEST),))


class Collection(RuleBasedStateMachine):
    """An uploader, a registrar and a collector, each of which may stop after any of its steps."""

    database: ClassVar[Database]
    blobs: ClassVar[LocalBlobs]
    now: ClassVar[datetime]

    def __init__(self) -> None:
        super().__init__()
        self.written = False
        self.held = False
        self.doomed: list[str] = []
        self.blobs.delete(DIGEST)
        with self.database.write() as tx:
            tx._session.execute(delete(ModelRow))
            tx._session.execute(delete(BlobRow))

    @rule()
    def upload(self) -> None:
        self.upload_writes()
        self.upload_records()

    @rule()
    def upload_writes(self) -> None:
        with self.blobs.writer() as writer:
            writer.write(CONTENT)
            writer.commit(DIGEST)
        self.written = True

    @precondition(lambda self: self.written)
    @rule()
    def upload_records(self) -> None:
        self.written = False
        with contextlib.suppress(Unavailable), self.database.write() as tx:
            tx.blobs.record(DIGEST, len(CONTENT), self.now + LEASE)

    @rule()
    def register(self) -> None:
        self.register_holds_then_looks()
        self.register_adds()

    @rule()
    def register_holds_then_looks(self) -> None:
        self.held = False
        with contextlib.suppress(NotFound), self.database.write() as tx:
            tx.blobs.hold([DIGEST], self.now + LEASE)
            self.held = True
        self.held = self.held and self.blobs.exists(DIGEST)

    @precondition(lambda self: self.held)
    @rule()
    def register_adds(self) -> None:
        if not self.held:
            return
        self.held = False
        # It is not found when more time passed than the bytes were held for.
        with contextlib.suppress(NotFound), self.database.write() as tx:
            tx.models.add(
                "default",
                REQUEST,
                files=[FILE],
                format=ModelFormat.CUSTOM,
                framework=None,
                created_by="ada",
            )

    @rule()
    def delete_model(self) -> None:
        with contextlib.suppress(NotFound), self.database.write() as tx:
            tx.models.delete("default", Reference("iris", None))

    @rule()
    def collect_marks(self) -> None:
        Collection.now += timedelta(days=1)
        with self.database.write() as tx:
            self.doomed = tx.blobs.collect(self.now)

    @precondition(lambda self: self.doomed)
    @rule()
    def collect_deletes(self) -> None:
        for digest in self.doomed:
            self.blobs.delete(digest)

    @precondition(lambda self: self.doomed and not self.blobs.exists(DIGEST))
    @rule()
    def collect_forgets(self) -> None:
        with self.database.write() as tx:
            tx.blobs.forget(self.doomed)
        self.doomed = []

    @invariant()
    def every_model_has_its_bytes(self) -> None:
        with self.database.read() as tx:
            models = tx.models.search("default", Search(limit=1000)).items
            assert not models or tx.blobs.known(DIGEST) == len(CONTENT)
        assert not models or self.blobs.exists(DIGEST)


def test_registered_models_keep_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No power fails here, and syncing would take most of the time.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    Collection.now = datetime(2026, 1, 1, tzinfo=UTC)
    Collection.blobs = LocalBlobs(tmp_path / "blobs")
    Collection.database = Database(
        f"sqlite:///{tmp_path / 'modelyard.db'}", clock=lambda: Collection.now
    )
    Collection.database.migrate()
    run_state_machine_as_test(
        Collection, settings=settings(max_examples=60, stateful_step_count=20, deadline=None)
    )
    Collection.database.close()
