from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.cli import session
from modelyard.client.connection import Address
from modelyard.client.local import LocalServer
from modelyard.errors import InvalidRequest

ADDRESS = Address("http://127.0.0.1:7878", "secret")


@pytest.fixture(autouse=True)
def _environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELYARD_URL", raising=False)
    monkeypatch.setattr(LocalServer, "ensure_running", lambda _: ADDRESS)


def test_start_of_a_server_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LocalServer, "find", lambda _: None)
    with session.client() as yard:
        assert yard.url == ADDRESS.url
    assert capsys.readouterr().err == f"starting the local server in {home / 'home'}\n"


def test_a_server_that_runs_is_used_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LocalServer, "find", lambda _: ADDRESS)
    with session.client() as yard:
        assert yard.url == ADDRESS.url
    assert capsys.readouterr().err == ""


def test_a_server_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_URL", "https://models.example.org")
    monkeypatch.setenv("MODELYARD_TOKEN", "secret")
    with session.client() as yard:
        assert yard.url == "https://models.example.org"
    with pytest.raises(InvalidRequest, match="MODELYARD_URL names the server"):
        session.local_server()
