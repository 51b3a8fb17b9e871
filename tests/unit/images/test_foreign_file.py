"""What is in the place of a file that somebody else's code wrote."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.images import foreign_file

MOST = 10


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "status").write_bytes(b"x" * MOST)
    assert foreign_file.read(tmp_path / "status", MOST) == b"x" * MOST


@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.symlink_to("/etc/passwd"),
        os.mkfifo,
        Path.mkdir,
        lambda path: path.write_bytes(b"x" * (MOST + 1)),
        lambda path: None,
    ],
    ids=["link", "pipe", "folder", "too long", "nothing"],
)
def test_anything_else_is_refused_and_can_be_removed(
    put: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "status"
    put(path)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(OSError):  # noqa: PT011 - each has another number
        foreign_file.read(path, MOST)
    assert len(os.listdir("/dev/fd")) == before
    foreign_file.remove(path)
    assert not os.path.lexists(path)


def test_a_full_folder_is_removed_too(tmp_path: Path) -> None:
    (tmp_path / "status" / "below").mkdir(parents=True)
    tmp_path.chmod(0o500)
    foreign_file.remove(tmp_path / "status")
    assert list(tmp_path.iterdir()) == []
