from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelyard.blobs.local import LocalBlobs
from modelyard.control.blobs import refuse_collected
from modelyard.control.upkeep import STRAY, Upkeep
from modelyard.errors import Unavailable
from modelyard.store import Database

DAY_OLD = time.time() - STRAY.total_seconds() - 60


class Cellar:
    """A database and a blob store to tidy."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder / 'yard.db'}")
        self.database.migrate()
        self.blobs = LocalBlobs(folder / "blobs")
        self.upkeep = Upkeep(self.database, self.blobs)
        self._folder = folder / "blobs"

    def write(self, content: bytes) -> str:
        with self.blobs.writer() as writer:
            writer.write(content)
            return writer.commit().digest

    def age(self, digest: str) -> None:
        path = next(self._folder.rglob(digest.removeprefix("sha256:")))
        os.utime(path, (DAY_OLD, DAY_OLD))

    def condemned_long_ago(self) -> None:
        """Let the time between the two steps pass."""
        with self.database.write() as tx:
            tx.blobs.collect(datetime.now(UTC) + timedelta(seconds=1))
            tx.blobs.collect(datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture
def cellar(tmp_path: Path) -> Iterator[Cellar]:
    cellar = Cellar(tmp_path)
    yield cellar
    cellar.database.close()


def test_old_bytes_that_nobody_recorded_are_freed(cellar: Cellar) -> None:
    stray = cellar.write(b"a killed server wrote this")
    cellar.age(stray)
    assert cellar.upkeep.tidy() == 0
    assert cellar.blobs.exists(stray)
    cellar.condemned_long_ago()
    assert cellar.upkeep.tidy() == 1
    assert not cellar.blobs.exists(stray)


def test_new_bytes_and_leased_bytes_stay(cellar: Cellar) -> None:
    arriving = cellar.write(b"just written")
    leased = cellar.write(b"uploaded")
    cellar.age(leased)
    with cellar.database.write() as tx:
        tx.blobs.record(leased, 8, datetime.now(UTC) + timedelta(hours=24))
    cellar.upkeep.tidy()
    cellar.condemned_long_ago()
    assert cellar.upkeep.tidy() == 0
    assert cellar.blobs.exists(arriving)
    assert cellar.blobs.exists(leased)


def test_bytes_that_were_collected_meanwhile_are_asked_for_again(cellar: Cellar) -> None:
    digest = cellar.write(b"unlucky")
    refuse_collected(cellar.blobs, [digest])
    cellar.blobs.delete(digest)
    with pytest.raises(Unavailable):
        refuse_collected(cellar.blobs, [digest])
