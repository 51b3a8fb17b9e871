from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.files import replace_file


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("content", ["größe", "größe".encode()])
def test_the_whole_file_is_another_one(tmp_path: Path, content: str | bytes, durable: bool) -> None:
    path = tmp_path / "key"
    path.write_text("a longer text than the next one")
    replace_file(path, content, durable=durable)
    assert path.read_text(encoding="utf-8") == "größe"
    assert os.listdir(tmp_path) == ["key"]


def test_only_its_owner_may_read_it_unless_told_otherwise(tmp_path: Path) -> None:
    replace_file(tmp_path / "private", "a")
    replace_file(tmp_path / "public", "b", mode=0o644)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"private": 0o600, "public": 0o644}


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "link").symlink_to(other)
    replace_file(tmp_path / "link", "new")
    assert (other.read_text(), (tmp_path / "link").read_text()) == ("mine", "new")


def test_nothing_has_changed_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "key"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["key"]
