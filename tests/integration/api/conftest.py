"""The REST interface of a composed server, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from modelyard.api import create_app
from modelyard.app import Parts, compose
from modelyard.settings import Settings


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home / "home", max_upload=1 << 20)


@pytest.fixture
def parts(settings: Settings) -> Iterator[Parts]:
    parts = compose(settings)
    yield parts
    parts.platform.images.close()
    parts.database.close()


@pytest.fixture
def app(parts: Parts) -> FastAPI:
    return create_app(parts.platform, lambda everything: None)


@pytest.fixture
def owner(app: FastAPI, settings: Settings) -> Iterator[TestClient]:
    """A client with the token of a person."""
    yield from _client(app, settings.home / "token")


@pytest.fixture
def agent(app: FastAPI, settings: Settings) -> Iterator[TestClient]:
    """A client with the token of the local agent."""
    yield from _client(app, settings.home / "agent" / "token")


def _client(app: FastAPI, token: Path) -> Iterator[TestClient]:
    headers = {"Authorization": f"Bearer {token.read_text()}"}
    with TestClient(app, headers=headers, raise_server_exceptions=False) as client:
        yield client
