from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.client.fake_server import FakeServer

import modelyard
from modelyard.client import Client
from modelyard.client.client import read_environment
from modelyard.errors import InvalidRequest, Unauthenticated


class TestConnect:
    def test_to_an_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELYARD_URL", "https://models.example.org")
        monkeypatch.setenv("MODELYARD_TOKEN", "secret")
        with modelyard.connect() as yard:
            assert yard.url == "https://models.example.org"
        with modelyard.connect("http://other.example", token="other") as yard:
            assert yard.url == "http://other.example"

    def test_without_a_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MODELYARD_TOKEN", raising=False)
        with pytest.raises(Unauthenticated, match=r"no token for https://models\.example\.org"):
            modelyard.connect("https://models.example.org")

    def test_wrong_setting_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELYARD_SERVER_PORT", "many")
        with pytest.raises(InvalidRequest, match="server_port"):
            read_environment()


class TestServer:
    def test_info(self, yard: Client) -> None:
        assert yard.info().workspace == "default"

    @pytest.mark.parametrize("everything", [False, True])
    def test_stop(self, yard: Client, server: FakeServer, everything: bool) -> None:
        yard.stop_server(everything=everything)
        assert server.stopped is everything


class TestPublicNames:
    def test_every_name_is_there(self) -> None:
        for name in modelyard.__all__:
            assert getattr(modelyard, name) is not None
        assert set(modelyard.__all__) <= set(dir(modelyard))

    def test_type_checkers_read_the_same_names(self) -> None:
        stub = Path(modelyard.__file__).with_suffix(".pyi").read_text()
        names = stub[stub.index("__all__ = [") :]
        assert [name.strip(' ",') for name in names.splitlines()[1:-1]] == modelyard.__all__

    def test_other_names_are_not(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            modelyard.nothing  # noqa: B018
