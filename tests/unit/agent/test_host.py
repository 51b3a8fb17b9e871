"""What this host has, and what a control group leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.agent import host
from modelyard.agent.host import host_memory, host_room

GIB = 1 << 30


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_physical", lambda: 16 * GIB)


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_without_groups_it_is_the_machine(tmp_path: Path) -> None:
    assert host_memory(tmp_path) == 16 * GIB


@pytest.mark.parametrize(
    ("text", "expected"), [(f"{2 * GIB}\n", 2), ("max\n", 16), (f"{64 * GIB}\n", 16), ("", 16)]
)
def test_version_2(tmp_path: Path, text: str, expected: int) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/outer/inner\n")
    put(tmp_path, "sys/fs/cgroup/outer/memory.max", text)
    assert host_memory(tmp_path) == expected * GIB


@pytest.mark.parametrize(("text", "expected"), [(f"{GIB}", 1), (str((1 << 63) - 4096), 16)])
def test_version_1(tmp_path: Path, text: str, expected: int) -> None:
    put(tmp_path, "proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n")
    put(tmp_path, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", text)
    assert host_memory(tmp_path) == expected * GIB


def test_a_part_is_left_to_everything_else(tmp_path: Path) -> None:
    room = host_room(tmp_path)
    assert 14 * GIB < room.memory < 15 * GIB
    assert room.cores >= 1
