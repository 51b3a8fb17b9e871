from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.agent.home import AgentHome, is_locked, lock
from modelyard.errors import Conflict, PermissionDenied, Unauthenticated


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AgentHome:
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    home = AgentHome(tmp_path / "home")
    home.create()
    return home


def test_folders_are_private(agent: AgentHome) -> None:
    for folder in (agent.folder, agent.replicas, agent.fetched, agent.gateway):
        assert folder.stat().st_mode & 0o077 == 0


def test_missing_token_says_what_to_do(agent: AgentHome) -> None:
    with pytest.raises(Unauthenticated) as caught:
        agent.read_token()
    assert caught.value.hint
    agent.token.write_text("secret\n")
    assert agent.read_token() == "secret"


def test_socket_folder_is_short_private_and_always_the_same(agent: AgentHome) -> None:
    folder = agent.sockets()
    try:
        assert folder == agent.sockets()
        assert folder.stat().st_mode & 0o077 == 0
        assert len(str(folder / ("x" * 12 + ".s"))) < 100
        assert folder != AgentHome(agent.folder.parent.parent / "other").sockets()
    finally:
        folder.rmdir()


def test_socket_folder_of_somebody_else_is_refused(agent: AgentHome) -> None:
    folder = agent.sockets()
    folder.chmod(0o755)
    try:
        with pytest.raises(PermissionDenied):
            agent.sockets()
    finally:
        folder.rmdir()


def test_link_in_place_of_the_socket_folder_is_refused(agent: AgentHome, tmp_path: Path) -> None:
    folder = agent.sockets()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(PermissionDenied):
            agent.sockets()
    finally:
        folder.unlink()


def test_temporary_folder_that_is_too_deep_is_refused(
    agent: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "deep" * 20)
    with pytest.raises(Conflict, match="too long"):
        agent.sockets()


def test_lock_is_held_as_long_as_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    held = lock(path)
    assert held is not None
    assert is_locked(path)
    assert lock(path) is None
    os.close(held)
    assert not is_locked(path)
