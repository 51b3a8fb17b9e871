"""Captured records at a server."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.factories import AGENT, WORKSPACE
from tests.segments import NOON, answered, seal, write

from modelyard.control.captures import Captures
from modelyard.domain.captured import Segment, Tally
from modelyard.domain.principal import Principal, Role
from modelyard.schemas import AskCaptured, CaptureReport
from modelyard.store import Database

KEY = b"key"
PRIVATE = b"1" * 32
LATER = NOON + timedelta(days=3)
FILES = 9
BODIES = (b'{"data": [{"id": 1}]}', b'{"data": [{"id": 2.5}]}', b'{"data": [{"id": "x"}]}')


def an_agent() -> Principal:
    return Principal(id=UUID(int=7), workspace=WORKSPACE, name=AGENT, role=Role.AGENT)


def open_database(folder: Path) -> Database:
    opened = Database(f"sqlite:///{folder / 'modelyard.db'}")
    opened.migrate()
    with opened.write() as tx:
        tx.agents.ensure(WORKSPACE, AGENT)
    return opened


def send(
    captures: Captures, agent: Principal, folder: Path, segment: Segment, sequence: int, **more: Any
) -> int:
    with captures.receive() as arrival:
        content = (folder / "outbox" / f"{segment.name}.parquet").read_bytes()
        arrival.write(more.get("content", content))
        return captures.add(agent, AGENT, 1, sequence, segment, arrival).next


def send_small_files(captures: Captures, agent: Principal, folder: Path) -> list[Segment]:
    """Files of two records, one of a request that the gateway answered, and one of a later day."""
    folder.mkdir()
    for number in range(FILES):
        body = BODIES[number % len(BODIES)]
        records = [answered(f"{number}{letter}", input=body) for letter in "ab"]
        seal(folder, write(folder / "spool", f"0000{number}-worker-0", *records))
    lost = answered("0a", deployment="d1", status=502)
    seal(folder, write(folder / "spool", "00010-gateway-0", lost), deployment="", replica="")
    day = int((NOON + timedelta(days=1)).timestamp() * 1e6)
    seal(folder, write(folder / "spool", "00011-worker-0", answered("alone", at=day)))
    sealed = seal(folder)
    for sequence, segment in enumerate(sealed):
        send(captures, agent, folder, segment, sequence)
    counted = {"answered": 2 * FILES + 1, "captured": 2 * FILES + 2, "sampled_out": 0, "dropped": 0}
    one = sealed[0]
    tally = Tally(id="0" * 16, service=one.service, service_name="digits", **counted)
    captures.report(agent, AGENT, CaptureReport(epoch=1, tallies=(tally,)))
    return sealed


def answers(captures: Captures, agent: Principal) -> list[Any]:
    sql = (
        "SELECT prediction_id, status, NULL FROM requests UNION ALL "
        "SELECT prediction_id, row, input_id FROM rows ORDER BY ALL"
    )
    with captures.ask(agent, AskCaptured(sql=sql)) as path:
        found: list[Any] = json.loads(path.read_bytes())["rows"]
        return found
