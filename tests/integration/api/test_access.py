from __future__ import annotations

import stat
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.testclient import TestClient

from modelyard.api.access import PUBLIC
from modelyard.settings import Settings


def calls(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path of the application, with something in place of parameters."""
    document = app.openapi()
    filled = [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, methods in document["paths"].items()
        for method in methods
    ]
    return [*filled, ("GET", "/api/v1/openapi.json")]


def all_routes(app: FastAPI) -> list[BaseRoute]:
    return [route for route in app.routes if isinstance(route, APIRoute)]


def test_every_route_is_walked(app: FastAPI) -> None:
    assert len(calls(app)) > 25
    hidden = [r for r in all_routes(app) if isinstance(r, APIRoute) and not r.include_in_schema]
    assert hidden == []


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic bXk6eQ=="])
def test_no_route_answers_without_a_token(app: FastAPI, header: str | None) -> None:
    with TestClient(app) as nobody:
        for method, path in calls(app):
            headers = {} if header is None else {"Authorization": header}
            answer = nobody.request(method, path, headers=headers)
            if path in PUBLIC:
                assert answer.status_code == 200
                continue
            assert answer.status_code == 401, f"{method} {path}"
            assert answer.json()["code"] == "unauthenticated"
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_path_that_does_not_exist_needs_a_token_too(app: FastAPI, owner: TestClient) -> None:
    with TestClient(app) as nobody:
        assert nobody.get("/api/v1/secrets").status_code == 401
    answer = owner.get("/api/v1/secrets")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_an_agent_may_only_speak_for_itself_and_read_blobs(app: FastAPI, agent: TestClient) -> None:
    for method, path in calls(app):
        if path in PUBLIC or path.startswith("/api/v1/agents/") or path.endswith("openapi.json"):
            continue
        answer = agent.request(method, path, json={})
        if (method, path) == ("GET", "/api/v1/blobs/digest"):
            assert answer.status_code == 400  # allowed, and `digest` is not one
        else:
            assert answer.status_code in (400, 403), f"{method} {path}"
            if answer.status_code == 400:
                assert "is not valid" in answer.json()["message"]
    assert agent.get("/api/v1/agents/local/desired").status_code == 200
    assert agent.get("/api/v1/agents/another/desired").status_code == 403


def test_a_person_may_not_speak_for_an_agent(owner: TestClient) -> None:
    answer = owner.get("/api/v1/agents/local/desired")
    assert answer.status_code == 403
    assert answer.json()["code"] == "permission_denied"


def test_secrets_are_for_their_owner_only(settings: Settings, app: FastAPI) -> None:
    del app
    secrets: list[Path] = [
        settings.home / "token",
        settings.home / "master.key",
        settings.home / "agent" / "token",
    ]
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tokens = {path.read_text() for path in secrets}
    assert len(tokens) == 3
    database = (settings.home / "modelyard.db").read_bytes()
    wal = settings.home / "modelyard.db-wal"
    stored = database + (wal.read_bytes() if wal.exists() else b"")
    assert not any(token.encode() in stored for token in tokens)


def test_the_application_is_closed_before_it_has_routes(app: FastAPI) -> None:
    """A route that somebody adds and forgets to protect is protected."""

    @app.get("/forgotten")
    def forgotten() -> str:
        return "open"

    with TestClient(app) as nobody:
        assert nobody.get("/forgotten").status_code == 401
