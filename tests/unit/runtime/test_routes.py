"""Paths and methods of a replica."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.unit.runtime.replies import outcome

from modelyard_runtime.causes import Scene
from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.http import Headers, Request, Response
from modelyard_runtime.lanes import Lane
from modelyard_runtime.protocols import score
from modelyard_runtime.routes import Routes
from modelyard_runtime.scoring import Call, Scorer
from modelyard_runtime.signatures.text import TextSignature

DOCUMENTS: dict[str, dict[str, Any]] = {
    "2": {"swagger": "2.0", "basePath": "/"},
    "3": {"openapi": "3.0.3", "servers": [{"url": "/"}]},
}
ENTRY = Entry(print, TextSignature("data"), Scene("", "", ""))


class EchoLane(Lane):
    def __init__(self) -> None:
        super().__init__(60.0, lambda: None)

    def submit(self, call: Call) -> Response:
        return Response(200, call.request.method.encode())

    def close(self) -> None:
        raise NotImplementedError

    def _start(self, job: Any) -> None:
        raise NotImplementedError

    def _give_up(self, job: Any) -> bool:
        raise NotImplementedError


def ask(
    method: str,
    path: str,
    query: str = "",
    *,
    headers: dict[bytes, bytes] | None = None,
    unready: Callable[[], str] = lambda: "",
) -> Response:
    async def asked() -> Response:
        surfaces = [score.routes(ENTRY, cast(Config, None), unready)]
        routes = Routes(EchoLane(), Scorer(ENTRY, print), surfaces, DOCUMENTS, unready)
        fields = Headers(list((headers or {}).items()))
        return outcome(routes(Request(method, path, query, fields, b"")))

    return asyncio.run(asked())


def test_root_is_healthy() -> None:
    response = ask("GET", "/")
    assert (response.status, response.body) == (200, b"Healthy")
    assert response.headers == [(b"content-type", b"text/plain; charset=utf-8")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_score_is_scored(method: str) -> None:
    assert ask(method, "/score").body == method.encode()


def test_score_has_options() -> None:
    response = ask("OPTIONS", "/score")
    assert (response.status, response.body) == (200, b"")
    assert dict(response.headers)[b"content-type"] == b"text/html"


def test_live() -> None:
    assert ask("GET", "/livez").status == 200


def test_ready() -> None:
    assert ask("GET", "/readyz").status == 200


def test_not_ready_says_why() -> None:
    response = ask("GET", "/readyz", unready=lambda: "1 of 2 workers")
    assert response.status == 503
    assert json.loads(response.body) == {"message": "1 of 2 workers"}


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("", "swagger"),
        ("version=2", "swagger"),
        ("version=2.0", "swagger"),
        ("version=3", "openapi"),
        ("version=3.0", "openapi"),
    ],
)
def test_swagger(query: str, key: str) -> None:
    assert key in json.loads(ask("GET", "/swagger.json", query).body)


def test_swagger_of_another_version() -> None:
    response = ask("GET", "/swagger.json", "version=1")
    assert response.status == 404
    assert json.loads(response.body)["message"] == (
        "Swagger version [1] is not valid. Supported versions: [2, 3]."
    )


@pytest.mark.parametrize(
    ("prefix", "base"),
    [(b"/services/flowers", "/services/flowers"), (b"//elsewhere", "/"), (b'/"', "/"), (b"", "/")],
)
def test_swagger_below_a_gateway(prefix: bytes, base: str) -> None:
    headers = {b"x-forwarded-prefix": prefix}
    second = json.loads(ask("GET", "/swagger.json", "", headers=headers).body)
    third = json.loads(ask("GET", "/swagger.json", "version=3", headers=headers).body)
    assert second["basePath"] == base
    assert third["servers"] == [{"url": base}]


@pytest.mark.parametrize("path", ["/nothing", "/score/", "/SCORE", "//score", ""])
def test_other_paths_are_not_found(path: str) -> None:
    response = ask("GET", path)
    assert response.status == 404
    assert "message" in json.loads(response.body)


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/score"), ("PUT", "/score"), ("POST", "/"), ("POST", "/livez")]
)
def test_other_methods_are_not_allowed(method: str, path: str) -> None:
    response = ask(method, path)
    assert response.status == 405
    assert b"GET" in dict(response.headers)[b"allow"]
    assert "message" in json.loads(response.body)
