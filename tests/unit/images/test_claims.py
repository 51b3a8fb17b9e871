"""Temporary folders that show whether their maker still lives."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from modelyard.images.claims import abandoned_folders, claimed_folder


def test_a_claimed_folder_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    with claimed_folder(tmp_path, "a-") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith("a-")
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_a_claimed_folder_is_not_abandoned(tmp_path: Path) -> None:
    with claimed_folder(tmp_path) as folder:
        assert list(abandoned_folders(tmp_path)) == []
        assert folder.is_dir()


def test_abandoned_folders_are_removed_once_they_were_looked_at(tmp_path: Path) -> None:
    for name in ("a-1", "a-2", "b-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    found = []
    for folder in abandoned_folders(tmp_path, "a-"):
        assert (folder / "file").exists()
        found.append(folder.name)
    assert sorted(found) == ["a-1", "a-2"]
    assert [path.name for path in tmp_path.iterdir()] == ["b-1"]


def test_links_and_files_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "a-link").symlink_to(tmp_path / "target")
    (tmp_path / "a-file").touch()
    assert list(abandoned_folders(tmp_path, "a-")) == []
    assert (tmp_path / "target").is_dir()


def test_folders_of_others_are_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a-1").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert list(abandoned_folders(tmp_path, "a-")) == []
    assert (tmp_path / "a-1").is_dir()


def test_a_folder_that_was_taken_for_abandoned_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    taken: list[str] = []

    def slow(descriptor: int, operation: int) -> None:
        if not taken:
            (folder,) = tmp_path.iterdir()
            taken.append(folder.name)
            folder.rmdir()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    with claimed_folder(tmp_path) as folder:
        assert folder.name not in taken
        assert folder.is_dir()
