"""kill -9 of a process that registers: nothing acknowledged is lost, nothing half done is seen."""

from __future__ import annotations

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from modelyard.blobs import LocalBlobs
from modelyard.domain.search import Search
from modelyard.store import Database

PROGRAM = Path(__file__).with_name("register_forever.py")
KILLS = 8


def run_and_kill(home: Path) -> list[list[str]]:
    """What the process said before it was killed: at any moment after some registrations."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(home)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said: list[str] = []
    enough = random.randint(1, 6)
    while sum(line.startswith("registered") for line in said) < enough:
        said.append(process.stdout.readline())
        assert said[-1], "it ended by itself"
    time.sleep(random.uniform(0.0, 0.1))
    process.kill()
    said += process.stdout
    process.stdout.close()
    assert process.wait(30) == -signal.SIGKILL
    return [line.split() for line in said]


def verify(home: Path, acknowledged: set[int], deleting: set[int]) -> None:
    database = Database(f"sqlite:///{home / 'modelyard.db'}")
    blobs = LocalBlobs(home / "blobs")
    with database.read() as tx:
        models = tx.models.search("default", Search(limit=1000)).items
    database.close()
    assert acknowledged - {model.version for model in models} <= deleting
    for model in models:
        assert model.tags == {"a": "1"}
        for file in model.files:
            data = b"".join(blobs.open(file.digest))
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == file.digest
            assert len(data) == file.size


def test_registration_survives_kills_at_any_moment(home: Path) -> None:
    home.mkdir(exist_ok=True)
    acknowledged: list[int] = []
    deleting: set[int] = set()
    for _ in range(KILLS):
        said = run_and_kill(home)
        acknowledged += [int(words[1]) for words in said if words[0] == "registered"]
        deleting |= {int(words[1]) for words in said if words[0] == "deleting"}
        verify(home, set(acknowledged), deleting)
    assert len(acknowledged) >= KILLS
    assert acknowledged == sorted(set(acknowledged)), "a number was given twice"
    connection = sqlite3.connect(home / "modelyard.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    assert LocalBlobs(home / "blobs").sweep() <= KILLS
    assert list((home / "blobs" / "incoming").iterdir()) == []
