"""Registers, deletes and collects until it is killed; says what it is about to do and has done."""

from __future__ import annotations

import os
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from modelyard.blobs import LocalBlobs
from modelyard.control.models import Models
from modelyard.domain.principal import Principal, Role
from modelyard.domain.values import Reference
from modelyard.schemas import FileReference, RegisterModel
from modelyard.store import Database

PRINCIPAL = Principal(id=uuid4(), workspace="default", name="ada", role=Role.OWNER)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def upload(database: Database, blobs: LocalBlobs) -> str:
    with blobs.writer() as writer:
        writer.write(os.urandom(random.choice([10, 3 << 20])))
        stored = writer.commit()
    with database.write() as tx:
        tx.blobs.record(stored.digest, stored.size, datetime.now(UTC) + timedelta(hours=1))
    return stored.digest


def collect(database: Database, blobs: LocalBlobs) -> None:
    later = datetime.now(UTC) + timedelta(days=2)
    with database.write() as tx:
        doomed = tx.blobs.collect(later, timedelta(0))
    for digest in doomed:
        blobs.delete(digest)
    with database.write() as tx:
        tx.blobs.forget(doomed)


def run(home: Path) -> None:
    database = Database(f"sqlite:///{home / 'modelyard.db'}")
    database.migrate()
    blobs = LocalBlobs(home / "blobs")
    models = Models(database, blobs)
    say("started")
    while True:
        file = FileReference(path="model.bin", digest=upload(database, blobs))
        request = RegisterModel(name="iris", files=(file,), tags={"a": "1"})
        version = models.register(PRINCIPAL, request).version
        say("registered", version)
        if random.random() < 0.4:
            say("deleting", version)
            models.delete(PRINCIPAL, Reference("iris", version))
        if random.random() < 0.4:
            collect(database, blobs)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
