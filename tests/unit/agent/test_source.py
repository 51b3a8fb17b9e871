from __future__ import annotations

import json
from collections.abc import Callable

import httpx2
import pytest
from tests.unit.agent.making import an_id, make_desired, make_service

from modelyard.agent.source import ServerSource
from modelyard.domain.observed import ObservedState
from modelyard.errors import (
    Conflict,
    IntegrityError,
    NotFound,
    ServerUnreachable,
    Unauthenticated,
    Unavailable,
)
from modelyard.schemas import LogSegment

DIGEST = "sha256:" + "a" * 64
STATE = make_desired(make_service())


def source(handler: Callable[[httpx2.Request], httpx2.Response]) -> ServerSource:
    return ServerSource("http://server", "local", "secret", httpx2.MockTransport(handler))


def test_desired_state_comes_with_its_tag() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/api/v1/agents/local/desired"
        assert request.url.params["wait"] == "20"
        assert request.headers["Authorization"] == "Bearer secret"
        assert "If-None-Match" not in request.headers
        return httpx2.Response(200, text=STATE.model_dump_json(), headers={"ETag": '"1.1"'})

    assert source(handler).desired(None, 20) == (STATE, '"1.1"')


def test_nothing_new_is_none() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["If-None-Match"] == '"1.1"'
        return httpx2.Response(304)

    assert source(handler).desired('"1.1"', 20) is None


def test_answer_of_another_version_is_explained() -> None:
    with pytest.raises(IntegrityError, match="DesiredState") as caught:
        source(lambda request: httpx2.Response(200, json={"agent": 7})).desired(None, 0)
    assert "versions" in caught.value.hint


@pytest.mark.parametrize("error", [Unauthenticated, NotFound, Conflict])
def test_errors_of_the_server_are_raised_as_they_are(error: type[Exception]) -> None:
    body = error("no").to_wire()  # type: ignore[attr-defined]
    with pytest.raises(error):
        source(lambda request: httpx2.Response(400, json=body)).desired(None, 0)


def test_answer_of_something_else_is_temporary() -> None:
    with pytest.raises(Unavailable, match="502"):
        source(lambda request: httpx2.Response(502, text="<html>")).desired(None, 0)


def test_no_answer_names_the_address() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(ServerUnreachable, match="http://server"):
        source(handler).desired(None, 0)


def test_report_is_put_whole() -> None:
    observed = ObservedState(agent="local", fence=1, generation=2)

    def handler(request: httpx2.Request) -> httpx2.Response:
        assert (request.method, request.url.path) == ("PUT", "/api/v1/agents/local/observed")
        assert ObservedState.model_validate_json(request.content) == observed
        return httpx2.Response(204)

    source(handler).publish(observed)


def test_log_piece_is_answered_with_what_is_expected_next() -> None:
    segment = LogSegment(service=an_id("s"), replica="r", epoch=1, sequence=4, text="x\n")

    def handler(request: httpx2.Request) -> httpx2.Response:
        assert json.loads(request.content)["sequence"] == 4
        return httpx2.Response(200, json={"next": 5})

    assert source(handler).send_log(segment).next == 5


def test_blob_is_asked_from_where_it_stopped() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == f"/api/v1/blobs/{DIGEST}"
        assert request.headers["Range"] == "bytes=5-"
        return httpx2.Response(206, stream=httpx2.ByteStream(b"world"))

    assert b"".join(source(handler).blob(DIGEST, 5)) == b"world"


def test_ignored_range_is_noticed() -> None:
    with pytest.raises(IntegrityError, match="range"):
        list(source(lambda request: httpx2.Response(200, content=b"x")).blob(DIGEST, 5))


def test_missing_blob_is_not_found() -> None:
    body = NotFound("no such blob").to_wire()
    with pytest.raises(NotFound):
        list(source(lambda request: httpx2.Response(404, json=body)).blob(DIGEST, 0))


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("http://127.0.0.1:7878", False),
        ("http://[::1]:7878", False),
        ("http://localhost:7878", False),
        ("https://server.example:443", True),
    ],
)
def test_proxy_of_the_environment_is_not_asked_for_this_host(url: str, trusted: bool) -> None:
    assert ServerSource(url, "local", "secret")._client.trust_env is trusted
