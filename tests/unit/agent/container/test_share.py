"""The folder that a container shares with its host, with whatever a container may leave there."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from modelyard.agent.container.share import discard, prepare, read_status, show_socket


@pytest.fixture
def share(home: Path) -> Path:
    folder = home / "d"
    prepare(folder, {"service": "digits"})
    return folder


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def test_is_for_whoever_the_container_is(share: Path) -> None:
    assert stat.S_IMODE(share.stat().st_mode) == 0o777
    assert stat.S_IMODE((share / "replica.json").stat().st_mode) == 0o644
    assert json.loads((share / "replica.json").read_text()) == {"service": "digits"}


def test_nothing_of_an_earlier_life_is_kept(share: Path, home: Path) -> None:
    precious = home / "precious"
    precious.write_text("untouched")
    (share / "replica.json").unlink()
    (share / "replica.json").symlink_to(precious)
    (share / "status.json").write_text('{"phase": "ready"}')
    (share / "deep" / "er").mkdir(parents=True)
    prepare(share, {"service": "new"})
    assert precious.read_text() == "untouched"
    assert [path.name for path in share.iterdir()] == ["replica.json"]


def test_folder_that_became_a_link_is_not_followed(share: Path, home: Path) -> None:
    discard(share)
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    share.symlink_to(elsewhere)
    prepare(share, {})
    assert (elsewhere / "file").exists()
    assert not share.is_symlink()


def test_status_is_read(share: Path) -> None:
    (share / "status.json").write_text('{"phase": "ready"}')
    assert read_status(share) == {"phase": "ready"}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a":' * 2000, "x" * (300 << 10)])
def test_nonsense_is_no_status(share: Path, content: str) -> None:
    (share / "status.json").write_text(content)
    assert read_status(share) == {}


def test_status_elsewhere_is_not_read(share: Path, home: Path) -> None:
    (home / "secret.json").write_text('{"phase": "ready"}')
    (share / "status.json").symlink_to(home / "secret.json")
    assert read_status(share) == {}


def test_pipe_instead_of_a_status_holds_nobody_up(share: Path) -> None:
    os.mkfifo(share / "status.json")
    assert read_status(share) == {}


def test_socket_gets_a_name_outside(share: Path, home: Path) -> None:
    assert not show_socket(share, home / "s")
    bind(share / "replica.sock")
    assert show_socket(share, home / "s")
    assert (home / "s").samefile(share / "replica.sock")


def test_name_follows_a_new_socket(share: Path, home: Path) -> None:
    bind(share / "replica.sock")
    assert show_socket(share, home / "s")
    (share / "replica.sock").rename(share / "old")
    bind(share / "replica.sock")
    assert show_socket(share, home / "s")
    assert (home / "s").samefile(share / "replica.sock")
    assert not (home / "s.new").exists()


def test_same_socket_again_keeps_its_name(share: Path, home: Path) -> None:
    bind(share / "replica.sock")
    assert show_socket(share, home / "s")
    assert show_socket(share, home / "s")
    assert (home / "s").samefile(share / "replica.sock")
    assert not (home / "s.new").exists()


def test_link_instead_of_a_socket_is_not_shown(share: Path, home: Path) -> None:
    bind(home / "engine.sock")
    (share / "replica.sock").symlink_to(home / "engine.sock")
    assert not show_socket(share, home / "s")
    assert not (home / "s").exists()


def test_file_instead_of_a_socket_is_not_shown(share: Path, home: Path) -> None:
    (share / "replica.sock").write_text("")
    assert not show_socket(share, home / "s")
    assert not (home / "s").exists()


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may not link to the sockets of others, as Linux has it for all but root."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("unprivileged")
def test_without_the_right_to_link_the_name_points_there(share: Path, home: Path) -> None:
    bind(share / "replica.sock")
    assert show_socket(share, home / "s")
    assert (home / "s").readlink() == share / "replica.sock"


@pytest.mark.usefixtures("unprivileged")
def test_without_that_right_a_link_is_not_shown_either(share: Path, home: Path) -> None:
    bind(home / "engine.sock")
    (share / "replica.sock").symlink_to(home / "engine.sock")
    assert not show_socket(share, home / "s")
    assert not (home / "s").is_symlink()
