"""What is asked of the kernel for a run, kind by kind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from modelyard.domain.cause import CauseCode
from modelyard.domain.image import LayerKind
from modelyard.domain.service import Network
from modelyard.images.sandbox import choosing, system_files
from modelyard.images.sandbox.cell import Cell, KernelLimits, Sandbox, SandboxKind
from modelyard.settings import SandboxMode

BUBBLEWRAP = Sandbox(SandboxKind.BUBBLEWRAP, own_network=True, counts_processes=True)
LANDLOCK = Sandbox(SandboxKind.LANDLOCK, no_tcp=True)
LAYERS = {LayerKind.CODE: Path("/layers/code")}
LIMITS = KernelLimits(file_size=7, processes=9)


def cell(sandbox: Sandbox, network: Network = Network.NONE) -> Cell:
    return Cell(sandbox, Path("/replica"), LAYERS, network, LIMITS)


def words(sandbox: Sandbox, network: Network = Network.NONE) -> str:
    return " ".join(cell(sandbox, network).command(["python", "-m", "runtime"]))


def test_without_a_sandbox_the_command_is_as_it_was() -> None:
    assert words(Sandbox(SandboxKind.NONE)) == "python -m runtime"


def test_only_the_own_folders_are_writable_in_bubblewrap() -> None:
    text = words(BUBBLEWRAP)
    parts = text.split()
    bound = [parts[at + 1] for at, word in enumerate(parts) if word == "--bind"]
    assert bound == [
        *("/replica/status", "/replica/captured", "/replica/shm"),
        *("/replica/scratch", "/replica/scratch"),
    ]
    assert "--ro-bind-try /layers/code/opt/modelyard/code /opt/modelyard/code" in text
    assert text.endswith("-- python -m runtime")


def test_the_image_is_where_it_is_in_a_container() -> None:
    inside = cell(BUBBLEWRAP).inside
    assert inside.layers == {LayerKind.CODE: Path("/")}
    assert inside.config == Path("/run/modelyard/replica.json")
    assert cell(LANDLOCK).inside == cell(LANDLOCK).outside


@pytest.mark.parametrize(
    ("sandbox", "kept"), [(BUBBLEWRAP, "--unshare-net"), (LANDLOCK, "--no-tcp")]
)
def test_the_network_is_kept_away_unless_it_is_allowed(sandbox: Sandbox, kept: str) -> None:
    assert kept in words(sandbox)
    assert kept not in words(sandbox, Network.OUTBOUND)
    assert cell(sandbox).is_offline
    assert not cell(sandbox, Network.OUTBOUND).is_offline
    assert not cell(Sandbox(SandboxKind.LIMITS)).is_offline


def test_processes_are_limited_where_they_are_counted_apart() -> None:
    assert "nproc=9" in words(BUBBLEWRAP)
    assert "nproc" not in words(LANDLOCK)
    assert "fsize=7" in words(LANDLOCK)


def test_users_differ_between_runs_and_stay_between_starts() -> None:
    root = Sandbox(SandboxKind.BUBBLEWRAP, own_user=True)
    users = {Cell(root, Path(f"/r{n}"), {}, Network.NONE, LIMITS)._user for n in range(20)}
    assert len(users) > 15
    assert all(61_184 <= user < 65_520 for user in users)
    assert cell(root)._user == cell(root)._user


@pytest.mark.parametrize(("code", "meant"), [(0, 0), (7, 7), (137, -signal.SIGKILL)])
def test_an_end_by_a_signal_is_told_from_outside(code: int, meant: int) -> None:
    assert cell(BUBBLEWRAP).exit_code(code) == meant
    assert cell(LANDLOCK).exit_code(code) == code


def test_more_workers_may_have_more_processes() -> None:
    one, two = KernelLimits.of(1 << 30, 1), KernelLimits.of(1 << 30, 2)
    assert one.file_size == 1 << 30
    assert one.processes < two.processes


def test_a_host_without_one_starts_nothing_if_it_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poor = Sandbox(SandboxKind.LIMITS, missing=("bubblewrap is not installed",))
    monkeypatch.setattr(choosing, "host_sandbox", lambda mode: poor)
    cause = choosing.why_refused(SandboxMode.REQUIRED)
    assert cause is not None
    assert cause.code is CauseCode.NO_SANDBOX
    assert cause.evidence == poor.missing
    assert choosing.why_refused(SandboxMode.AUTO) is None
    monkeypatch.setattr(choosing, "host_sandbox", lambda mode: BUBBLEWRAP)
    assert choosing.why_refused(SandboxMode.REQUIRED) is None


def test_python_in_the_home_folder_opens_nothing_else_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "me")
    assert system_files.holds_home(tmp_path)
    assert not system_files.holds_home(tmp_path / "me" / "python")
    monkeypatch.setattr(system_files.sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(system_files.sys, "base_exec_prefix", str(tmp_path))
    assert tmp_path not in system_files.readable(online=False)
