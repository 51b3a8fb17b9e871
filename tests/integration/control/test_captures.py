"""Captured records at the server: what is kept, and what goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.factories import AGENT, WORKSPACE
from tests.unit.capture.test_sealing import NOON, answered, seal, write

from modelyard.capture.files import CapturedFiles
from modelyard.control.captures import Captures
from modelyard.domain.captured import Segment, Tally
from modelyard.domain.principal import Principal, Role
from modelyard.errors import Conflict, IntegrityError, NotFound, Unavailable
from modelyard.schemas import AskCaptured, CaptureReport
from modelyard.store import Database


@pytest.fixture
def agent() -> Principal:
    return Principal(id=UUID(int=7), workspace=WORKSPACE, name=AGENT, role=Role.AGENT)


@pytest.fixture
def captures(tmp_path: Path) -> Captures:
    database = Database(f"sqlite:///{tmp_path / 'modelyard.db'}")
    database.migrate()
    with database.write() as tx:
        tx.agents.ensure(WORKSPACE, AGENT)
    return Captures(database, CapturedFiles(tmp_path / "captured"), tmp_path / "answers")


def segments(folder: Path) -> list[Segment]:
    """Three files of two records each, a day apart."""
    folder.mkdir()
    for day in range(3):
        at = int((NOON + timedelta(days=day)).timestamp() * 1e6)
        names = (f"{day}a", f"{day}b")
        records = [answered(name, at=at) for name in names]
        seal(folder, write(folder / "spool", f"0000{day}-worker-0", *records))
    return seal(folder)


def send(
    captures: Captures, agent: Principal, folder: Path, segment: Segment, sequence: int, **more: Any
) -> int:
    with captures.receive() as arrival:
        content = (folder / "outbox" / f"{segment.name}.parquet").read_bytes()
        arrival.write(more.get("content", content))
        return captures.add(agent, AGENT, 1, sequence, segment, arrival).next


def test_files_come_in_once_and_go_by_age_and_size(
    captures: Captures, agent: Principal, tmp_path: Path
) -> None:
    sealed = segments(tmp_path / "host")
    for sequence, segment in enumerate(sealed):
        assert send(captures, agent, tmp_path / "host", segment, sequence) == sequence + 1
        assert send(captures, agent, tmp_path / "host", segment, sequence) == sequence + 1
    counted = Tally(
        id="0" * 16,
        service=sealed[0].service,
        service_name="digits",
        answered=6,
        captured=6,
        sampled_out=0,
        dropped=0,
    )
    captures.report(agent, AGENT, CaptureReport(epoch=1, tallies=(counted,)))
    account = captures.account(agent, "digits")
    assert (account.captured, account.missing, account.doubled) == (6, 0, 0)

    now = NOON + timedelta(days=2)
    assert captures.expire(WORKSPACE, now, days=1.5, most=0) == 1
    assert captures.segments(agent) == tuple(sealed[1:])
    assert captures.expire(WORKSPACE, now, days=0, most=sealed[2].size) == 1
    assert captures.expire(WORKSPACE, now, days=0, most=0) == 0
    assert captures.segments(agent) == (sealed[2],)
    files = [path.stem for path in (tmp_path / "captured").rglob("*.parquet")]
    assert files == [sealed[2].name]
    account = captures.account(agent, "digits")
    assert (account.captured, account.missing) == (6, 0)  # what was deleted is not missing

    assert send(captures, agent, tmp_path / "host", sealed[0], 3) == 4
    assert captures.segments(agent) == (sealed[2],)  # and does not come back


def test_what_is_not_what_it_says_is_refused(
    captures: Captures, agent: Principal, tmp_path: Path
) -> None:
    first, second, _ = segments(tmp_path / "host")
    with pytest.raises(IntegrityError, match="arrived as"):
        send(captures, agent, tmp_path / "host", first, 0, content=b"something else")
    with pytest.raises(Conflict, match="came as number 7"):
        send(captures, agent, tmp_path / "host", second, 7)
    assert captures.segments(agent) == ()
    assert list((tmp_path / "captured").rglob("*.parquet")) == []
    with (
        pytest.raises(NotFound, match="of service `digits`"),
        captures.ask(agent, AskCaptured(sql="SELECT 1", service="digits")),
    ):
        pass


def test_a_file_that_is_gone_is_not_blamed_on_the_sql(
    captures: Captures, agent: Principal, tmp_path: Path
) -> None:
    first, *_ = segments(tmp_path / "host")
    send(captures, agent, tmp_path / "host", first, 0)
    (file,) = (tmp_path / "captured").rglob("*.parquet")
    file.unlink()
    with (
        pytest.raises(Unavailable, match=first.name),
        captures.ask(agent, AskCaptured(sql="SELECT 1")),
    ):
        pass


def test_what_a_killed_server_has_left_goes_after_a_while(
    captures: Captures, agent: Principal, tmp_path: Path
) -> None:
    (known, deleted, _) = segments(tmp_path / "host")
    for sequence, segment in enumerate((known, deleted)):
        send(captures, agent, tmp_path / "host", segment, sequence)
    folder = tmp_path / "captured"
    (file,) = folder.rglob(f"{known.name}.parquet")
    for left in (file.with_name("unrecorded.parquet"), folder / ".arriving" / "half"):
        left.write_bytes(b"x")
    (tmp_path / "answers" / "tmp").mkdir(parents=True)
    soon, later = datetime.now(UTC), datetime.now(UTC) + timedelta(hours=2)
    assert captures.expire(WORKSPACE, soon, days=0, most=0) == 0
    assert captures.expire(WORKSPACE, later, days=0, most=0) == 2
    left = sorted(path.stem for path in folder.rglob("*") if path.is_file())
    assert left == sorted((known.name, deleted.name))
    assert list((tmp_path / "answers").iterdir()) == []
