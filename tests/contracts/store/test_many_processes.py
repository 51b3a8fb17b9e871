"""Several servers on one database: they would be a mistake, and may still not spoil it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.factories import WORKSPACE

from modelyard.domain.search import Search
from modelyard.store import Database

PROCESSES = 3
EACH = 10
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from modelyard.store import Database
from tests.factories import add_model
database = Database(sys.argv[1])
for _ in range({EACH}):
    with database.write() as tx:
        print(add_model(tx).version, flush=True)
"""


def test_registrations_of_several_processes_give_numbers_in_a_row(
    url: str, database: Database
) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, url], stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES
    versions = sorted(int(line) for output in outputs for line in output.split())
    assert versions == list(range(1, PROCESSES * EACH + 1))
    with database.read() as tx:
        assert len(tx.models.search(WORKSPACE, Search()).items) == PROCESSES * EACH
