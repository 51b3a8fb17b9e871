"""How what was seen of a host is judged."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelyard.agent.doctor import Finding, Grade, certificates, folders, machine, reach
from modelyard.control.authority import Authority
from modelyard.images.sandbox import choosing
from modelyard.images.sandbox.cell import Sandbox, SandboxKind
from modelyard.settings import SandboxMode, Settings

BUBBLEWRAP = Sandbox(SandboxKind.BUBBLEWRAP, own_network=True)
LANDLOCK = Sandbox(SandboxKind.LANDLOCK, no_tcp=True, missing=("bubblewrap is not installed",))
NOTHING = Sandbox(SandboxKind.LIMITS, missing=("bubblewrap is not installed", "no Landlock"))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sandbox], None]:
    """Have this host another sandbox."""

    def put(sandbox: Sandbox) -> None:
        for module in (machine, choosing):
            monkeypatch.setattr(module, "host_sandbox", lambda mode: sandbox)

    return put


@pytest.mark.parametrize(
    ("sandbox", "mode", "grade", "required"),
    [
        (BUBBLEWRAP, SandboxMode.AUTO, Grade.OK, False),
        (BUBBLEWRAP, SandboxMode.REQUIRED, Grade.OK, False),
        (LANDLOCK, SandboxMode.AUTO, Grade.WARN, False),
        (NOTHING, SandboxMode.AUTO, Grade.MISSING, False),
        (NOTHING, SandboxMode.REQUIRED, Grade.MISSING, True),
        (Sandbox(SandboxKind.NONE), SandboxMode.OFF, Grade.WARN, False),
    ],
)
def test_a_sandbox(
    host: Callable[[Sandbox], None],
    sandbox: Sandbox,
    mode: SandboxMode,
    grade: Grade,
    required: bool,
) -> None:
    host(sandbox)
    found = machine.sandbox(mode)
    assert (found.grade, found.required) == (grade, required)
    assert all(reason in found.seen for reason in sandbox.missing)
    assert bool(found.fix) == (grade is not Grade.OK)


def a_group(folder: Path, name: str, text: str = "") -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("found", "grade", "seen"),
    [
        (lambda tmp: machine.landlock(7), Grade.OK, "7"),
        (lambda tmp: machine.landlock(3), Grade.WARN, "3"),
        (lambda tmp: machine.landlock(0), Grade.MISSING, "none"),
        (lambda tmp: machine.open_files(1024, 1 << 20), Grade.OK, "1048576"),
        (lambda tmp: machine.open_files(1024, resource.RLIM_INFINITY), Grade.OK, "no limit"),
        (lambda tmp: machine.open_files(256, 1024), Grade.WARN, "1024"),
        (lambda tmp: machine.clock(2e9, 1e9), Grade.OK, "2033"),
        (lambda tmp: machine.clock(0, 1e9), Grade.WARN, "1970"),
        (lambda tmp: machine.control_groups(tmp), Grade.WARN, "none"),
        (
            lambda tmp: machine.control_groups(a_group(tmp, "cgroup.controllers")),
            Grade.OK,
            "version 2",
        ),
        (
            lambda tmp: machine.control_groups(
                a_group(tmp, "memory/memory.limit_in_bytes", "123456\n")
            ),
            Grade.OK,
            "123456",
        ),
        (lambda tmp: folders.space(100 << 30), Grade.OK, "100.0 GiB"),
        (lambda tmp: folders.space(1 << 30), Grade.WARN, "1.0 GiB"),
        (lambda tmp: folders.durability(tmp / "not" / "yet"), Grade.OK, "ms"),
        (lambda tmp: reach.packages(Settings(wheels=tmp)), Grade.MISSING, "no wheels"),
    ],
)
def test_other_things(
    found: Callable[[Path], Finding], grade: Grade, seen: str, tmp_path: Path
) -> None:
    finding = found(tmp_path)
    assert finding.grade is grade
    assert seen in finding.seen
    assert bool(finding.fix) == (grade is not Grade.OK)


def test_a_home_that_cannot_be_written_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(folders.os, "fsync", full)
    found = folders.durability(tmp_path)
    assert (found.grade, found.required) == (Grade.MISSING, True)
    assert list(tmp_path.iterdir()) == []


def test_certificates_of_ones_own_are_looked_at(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    now = datetime.now(UTC)
    authority.renew(("localhost",), now)
    path = authority.gateway_certificate
    own = Settings(home=tmp_path, server_certificate="own", gateway_certificate=path)
    assert [one.name for one in certificates.findings(own)] == ["gateway certificate"]
    for days, grade in ((0, Grade.OK), (85, Grade.WARN), (95, Grade.WARN)):
        assert certificates.end("server", path, now + timedelta(days=days)).grade is grade
    path.write_text("nothing")
    assert certificates.end("server", path, now).grade is Grade.MISSING
    assert certificates.end("server", tmp_path / "none", now).grade is Grade.MISSING
