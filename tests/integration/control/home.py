"""Parts of a server that sketch captured rows, without its threads."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import duckdb
from tests.factories import AGENT, WORKSPACE

from modelyard.capture.files import CapturedFiles
from modelyard.control.captures import Captures
from modelyard.control.drift import Drift
from modelyard.control.rewriting import Rewriting
from modelyard.control.sketching import Sketcher
from modelyard.domain.captured import Segment
from modelyard.domain.principal import Principal, Role
from modelyard.store import Database

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
OWNER = Principal(id=UUID(int=7), workspace=WORKSPACE, name="owner", role=Role.OWNER)


class Home(NamedTuple):
    """A server's parts, without its threads."""

    folder: Path
    database: Database
    files: CapturedFiles
    captures: Captures
    rewriting: Rewriting
    sketcher: Sketcher
    drift: Drift

    @classmethod
    def below(cls, folder: Path) -> Home:
        """One that is empty."""
        database = Database(f"sqlite:///{folder / 'modelyard.db'}")
        database.migrate()
        with database.write() as tx:
            tx.agents.ensure(WORKSPACE, AGENT)
        files = CapturedFiles(folder / "captured")
        captures = Captures(database, files, folder / "scratch", bytes(range(32)))
        rewriting = Rewriting(database, files, folder / "scratch", b"key", bytes(range(32)))
        sketcher = Sketcher(database, files, WORKSPACE)
        drift = Drift(database, sketcher, folder / "scratch")
        return cls(folder, database, files, captures, rewriting, sketcher, drift)

    def send(
        self, name: str, at: datetime, rows: int, age: str = "random()", damaged: bool = False
    ) -> Segment:
        """A file of rows that has come in: ages as SQL says, and one word in five is missing."""
        path = self.folder / f"{name}.parquet"
        duckdb.sql(
            f"SELECT to_timestamp({at.timestamp()} + i) AS time, '{name}-' || i AS prediction_id, "
            f"'row' AS recorded_by, 0::INTEGER AS \"row\", NULL::JSON AS inputs, "
            f'NULL::JSON AS outputs, {age} AS "input:age", '
            "CASE WHEN i % 5 > 0 THEN 'w' || (i % 3) END AS \"input:word\", "
            f'(i % 2)::BIGINT AS "output:" FROM range({rows}) t(i) UNION ALL BY NAME '
            f"SELECT to_timestamp({at.timestamp()}) AS time, '{name}-0' AS prediction_id, "
            f"'worker' AS recorded_by, '{{\"customer\": \"{name}\"}}'::JSON AS inputs"
        ).write_parquet(str(path))
        content = b"no Parquet" if damaged else path.read_bytes()
        segment = Segment(
            name=name,
            service=UUID(int=1),
            service_name="people",
            model="ages",
            version=1,
            image="people:1",
            date=at.date(),
            rows=rows,
            requests=1,
            first=at,
            last=at + timedelta(seconds=rows),
            size=len(content),
            digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        )
        with self.database.write() as tx:
            sequence = tx.captured.expected(AGENT, 1)
        with self.captures.receive() as arrival:
            arrival.write(content)
            self.captures.add(OWNER, AGENT, 1, sequence, segment, arrival)
        return segment

    def sketch(self) -> int:
        """Everything that has come in; the number of files."""
        return sum(iter(self.sketcher.round, 0))
