"""Paths and methods of a replica."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.runtime.replies import outcome

from modelyard_runtime.causes import Scene
from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import Headers, Request, Response
from modelyard_runtime.lanes.base import Lane
from modelyard_runtime.protocols import score
from modelyard_runtime.protocols.base import Surface
from modelyard_runtime.routes import Routes
from modelyard_runtime.scoring import Call, Scorer
from modelyard_runtime.signatures.text import TextSignature

ENTRY = Entry(print, TextSignature("data"), Scene("", "", ""))
OTHER = Surface(
    {"/other/page": {"GET": lambda request: Response(200, b"page")}},
    "/other/",
    lambda status, message: Response(status, b"other: " + message.encode()),
)
CONFIG = Config(
    fd=0,
    workers=1,
    code="/nowhere",
    script="score.py",
    models_root="/nowhere",
    models=(),
    status="",
    service="flowers",
    scoring_timeout=60.0,
    max_body=1000,
    drain_timeout=5.0,
)


class EchoLane(Lane):
    def submit(self, call: Call) -> Response:
        return Response(200, call.request.method.encode())

    def close(self) -> None:
        raise NotImplementedError


def ask(
    method: str,
    path: str,
    query: str = "",
    *,
    headers: dict[bytes, bytes] | None = None,
    unready: Callable[[], str] = lambda: "",
    config: Config = CONFIG,
    entry: Entry = ENTRY,
) -> Response:
    async def asked() -> Response:
        surfaces = [score.routes(entry, config, unready), OTHER]
        routes = Routes(EchoLane(), Scorer(entry, print), surfaces, config, unready)
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
        ("version=3.1", "openapi"),
    ],
)
def test_swagger(query: str, key: str) -> None:
    assert key in json.loads(ask("GET", "/swagger.json", query).body)


def test_swagger_of_another_version() -> None:
    response = ask("GET", "/swagger.json", "version=1")
    assert response.status == 404
    assert json.loads(response.body)["message"] == (
        "Swagger version [1] is not valid. Supported versions: [2, 3, 3.1]."
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


def test_swagger_says_what_every_path_answers() -> None:
    paths = json.loads(ask("GET", "/swagger.json").body)["paths"]
    assert list(paths) == ["/", "/livez", "/other/page", "/readyz", "/score", "/swagger.json"]
    assert list(paths["/score"]) == ["post", "get"]


def test_versions_that_cannot_say_what_is_taken_are_not_served() -> None:
    signature = TextSignature("data")
    signature.versions = ("3.0", "3.1")
    entry = Entry(print, signature, Scene("", "", ""))
    response = ask("GET", "/swagger.json", "version=2", entry=entry)
    assert response.status == 404
    assert json.loads(response.body)["message"].endswith("versions: [3, 3.1].")


@pytest.mark.parametrize(
    ("name", "version"), [("swagger.json", "2"), ("swagger2.json", "2"), ("swagger3.json", "3")]
)
def test_a_document_beside_the_script_wins(tmp_path: Path, name: str, version: str) -> None:
    (tmp_path / name).write_text('{"mine": true}')
    config = dataclasses.replace(CONFIG, code=str(tmp_path))
    response = ask("GET", "/swagger.json", f"version={version}", config=config)
    assert json.loads(response.body)["mine"] is True
    other = ask("GET", "/swagger.json", "version=3.1", config=config)
    assert "openapi" in json.loads(other.body)


def test_a_document_beside_the_script_that_is_not_json_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "swagger.json").write_text("{")
    ask("GET", "/swagger.json", config=dataclasses.replace(CONFIG, code=str(tmp_path)))
    assert "swagger.json is not served" in capsys.readouterr().err


def test_a_protocol_tells_of_its_own_missing_paths() -> None:
    assert ask("GET", "/other/page").body == b"page"
    assert ask("HEAD", "/other/page").status == 200
    assert ask("GET", "/other/no").body.startswith(b"other: ")
    response = ask("POST", "/other/page")
    assert (response.status, response.body[:7]) == (405, b"other: ")
    assert dict(response.headers)[b"allow"] == b"GET, HEAD"


def test_options_reach_a_script_that_takes_them() -> None:
    signature = TextSignature("data")
    signature.takes_options = True
    assert ask("OPTIONS", "/score", entry=Entry(print, signature, Scene("", "", ""))).body == (
        b"OPTIONS"
    )


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
