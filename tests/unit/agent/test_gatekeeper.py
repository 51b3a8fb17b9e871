"""What the agent makes of the files of a gateway."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from modelyard.agent.gatekeeper import Access, Gatekeeper
from modelyard.agent.gateway import files
from modelyard.agent.gateway.config import GatewayConfig, ServiceRoute, write_config
from modelyard.agent.gateway.status import GatewayStatus
from modelyard.domain.cause import Cause, CauseCode

REFUSAL = Cause(
    code=CauseCode.PORT_TAKEN,
    message="the gateway that runs serves on, because another one cannot: port 80 is in use",
    fix="end that program",
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a gateway that runs, with one service."""
    route = ServiceRoute(
        name="digits",
        auth="none",
        keys=(),
        scoring_timeout=1.0,
        max_concurrent_requests=1,
        max_queue_wait=0.0,
        upstreams=(),
    )
    write_config(tmp_path / files.CONFIG, GatewayConfig(1, (route,)))
    with (tmp_path / files.LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tmp_path


def runs(folder: Path, version: str, cause: Cause | None = None) -> None:
    told = None if cause is None else cause.model_dump(mode="json")
    status = GatewayStatus(pid=1, started_at="", version=version, config_version=1, cause=told)
    (folder / files.STATUS).write_text(json.dumps(asdict(status)))


def test_why_another_gateway_could_not_take_over_is_told_of_its_services(folder: Path) -> None:
    keeper = Gatekeeper(folder, Access(), lambda: 0.0)
    runs(folder, version="0.0.1")
    assert keeper.look()[2] == {}
    (folder / files.REFUSAL).write_text(REFUSAL.model_dump_json())
    assert keeper.look()[2] == {"digits": REFUSAL}
    (folder / files.REFUSAL).write_text("{")
    assert keeper.look()[2] == {}


def test_a_gateway_that_is_the_wanted_one_has_no_such_notice(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Gatekeeper(folder, Access(), lambda: 0.0)
    (folder / files.REFUSAL).write_text(REFUSAL.model_dump_json())
    monkeypatch.setattr(Gatekeeper, "_outdated", False)
    runs(folder, version="0.0.1")
    assert keeper.look()[2] == {}
