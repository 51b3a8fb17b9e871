"""The processors that a process may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard_runtime import cpus


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "_affinity", lambda: 16)


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_without_groups_is_the_affinity(tmp_path: Path) -> None:
    assert cpus.usable(tmp_path) == 16


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("max 100000", 16)],
)
def test_version_2_in_a_container(tmp_path: Path, text: str, expected: int) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/cpu.max", text)
    assert cpus.usable(tmp_path) == expected


def test_the_tightest_of_the_groups_around_counts(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/outer/inner\n")
    put(tmp_path, "sys/fs/cgroup/outer/cpu.max", "300000 100000")
    put(tmp_path, "sys/fs/cgroup/outer/inner/cpu.max", "800000 100000")
    assert cpus.usable(tmp_path) == 3


def test_version_1(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "7:memory:/m\n4:cpu,cpuacct:/docker/abc\n0::/\n")
    put(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "400000\n")
    put(tmp_path, "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n")
    assert cpus.usable(tmp_path) == 4


def test_version_1_without_a_limit(tmp_path: Path) -> None:
    put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert cpus.usable(tmp_path) == 16


def test_a_quota_beyond_the_affinity(tmp_path: Path) -> None:
    put(tmp_path, "sys/fs/cgroup/cpu.max", "6400000 100000")
    assert cpus.usable(tmp_path) == 16
