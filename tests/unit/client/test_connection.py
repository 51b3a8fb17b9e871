from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

from modelyard.client.connection import PAUSES, Address, Connection, checked_url, is_loopback, tls
from modelyard.errors import (
    InUse,
    InvalidRequest,
    ModelyardError,
    ServerUnreachable,
    Unauthenticated,
    Unavailable,
)
from modelyard.schemas import DeployService, ServerInfo

INFO = {"version": "1", "workspace": "w", "principal": "p", "gateway": None}


class Script:
    """Answers what it was given, in turn."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[httpx2.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def connection(self, url: str = "http://127.0.0.1:1") -> Connection:
        return Connection(Address(url, "secret"), httpx2.MockTransport(self), self.pauses.append)


def good() -> httpx2.Response:
    return httpx2.Response(200, json=INFO)


BODY = DeployService(name="digits", image="digits:1")


class TestRetries:
    def test_get_is_repeated_after_a_break(self) -> None:
        script = Script(httpx2.ReadError("gone"), httpx2.ConnectError("refused"), good())
        assert script.connection().get("/info", ServerInfo).version == "1"
        assert script.pauses == list(PAUSES[:2])

    def test_waits_as_long_as_it_is_told(self) -> None:
        script = Script(good(), good())
        script.connection().request("GET", "/info")
        script.connection().request("GET", "/info", silence=120.0)
        waits = [request.extensions["timeout"] for request in script.requests]
        assert [wait["read"] for wait in waits] == [60.0, 120.0]
        assert [wait["connect"] for wait in waits] == [5.0, 5.0]

    def test_gives_up_in_the_end(self) -> None:
        script = Script(*[httpx2.ConnectError("refused")] * (len(PAUSES) + 1))
        with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:1 does not answer: refused"):
            script.connection().get("/info", ServerInfo)
        assert script.pauses == list(PAUSES)

    def test_creation_is_repeated_under_one_key(self) -> None:
        script = Script(httpx2.ReadError("gone"), good())
        script.connection().create("POST", "/services", BODY, ServerInfo)
        keys = [request.headers["idempotency-key"] for request in script.requests]
        assert len(keys) == 2
        assert len(set(keys)) == 1

    def test_two_creations_have_two_keys(self) -> None:
        script = Script(good(), good())
        connection = script.connection()
        for _ in range(2):
            connection.create("POST", "/services", BODY, ServerInfo)
        assert len({request.headers["idempotency-key"] for request in script.requests}) == 2

    def test_what_may_have_taken_effect_is_not_repeated(self) -> None:
        script = Script(httpx2.ReadError("gone"))
        with pytest.raises(ServerUnreachable):
            script.connection().request("POST", "/services/a/keys/primary/regenerate")
        assert len(script.requests) == 1

    def test_what_was_never_sent_is_repeated(self) -> None:
        script = Script(httpx2.ConnectError("refused"), httpx2.Response(204))
        script.connection().request("DELETE", "/models/iris/versions/1")
        assert len(script.requests) == 2


class TestErrors:
    def test_are_rebuilt(self) -> None:
        error = InUse("needed", hint="delete it", details={"users": ["image a:1"]})
        script = Script(httpx2.Response(409, json=error.to_wire()))
        with pytest.raises(InUse, match="needed") as caught:
            script.connection().request("DELETE", "/models/iris/versions/1")
        assert caught.value.hint == "delete it"
        assert caught.value.details == {"users": ["image a:1"]}

    def test_with_strange_details_are_still_errors(self) -> None:
        body = {"code": "not_found", "message": "m", "hint": "h", "details": "text"}
        with pytest.raises(ModelyardError) as caught:
            Script(httpx2.Response(404, json=body)).connection().request("GET", "/info")
        assert caught.value.details == {}

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(401, Unauthenticated), (502, Unavailable), (503, Unavailable), (500, ModelyardError)],
    )
    def test_of_something_else_name_the_address(
        self, status: int, kind: type[ModelyardError]
    ) -> None:
        script = Script(httpx2.Response(status, content=b"<html>proxy</html>"))
        with pytest.raises(kind, match=rf"127\.0\.0\.1:1 answered with HTTP status {status}"):
            script.connection().request("GET", "/info")

    @pytest.mark.parametrize("body", [b"", b"[1]", b'{"version": 1}'])
    def test_an_answer_of_another_shape_is_one(self, body: bytes) -> None:
        with pytest.raises(ModelyardError, match="not a ServerInfo"):
            Script(httpx2.Response(200, content=body)).connection().get("/info", ServerInfo)


class TestRequests:
    def test_carry_the_token(self) -> None:
        script = Script(good())
        script.connection().get("/info", ServerInfo)
        assert script.requests[0].headers["authorization"] == "Bearer secret"

    def test_never_follow_a_redirect_with_the_token(self) -> None:
        script = Script(httpx2.Response(307, headers={"Location": "http://elsewhere.example/"}))
        with pytest.raises(ModelyardError, match="307"):
            script.connection().get("/info", ServerInfo)
        assert len(script.requests) == 1

    def test_say_only_what_was_given(self) -> None:
        script = Script(good())
        script.connection().create("POST", "/services", BODY, ServerInfo)
        assert script.requests[0].content == b'{"name":"digits","image":"digits:1"}'


class TestAddress:
    @pytest.mark.parametrize(
        "url", ["", "models.example.org", "ftp://models.example.org", "http://", "http://a?b=c"]
    )
    def test_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(InvalidRequest, match="not the address of a server"):
            checked_url(url)

    def test_loses_its_final_slash(self) -> None:
        assert checked_url("https://models.example.org/yard/") == "https://models.example.org/yard"

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("http://127.0.0.1:80", True),
            ("http://localhost", True),
            ("http://[::1]:80", True),
            ("http://example.org", False),
            ("http://127.example.org", False),
        ],
    )
    def test_on_this_machine(self, url: str, expected: Any) -> None:
        assert is_loopback(url) is expected

    @pytest.mark.parametrize(
        ("url", "verified"),
        [
            ("http://127.0.0.1:80", False),
            ("https://127.0.0.1:80", True),
            ("http://example.org", True),
            ("https://example.org", True),
        ],
    )
    def test_certificates_are_read_where_there_may_be_tls(
        self, url: str, verified: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        assert (tls(url) is True) is verified

    def test_a_named_authority_is_trusted_on_loopback_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        context = tls("https://127.0.0.1:80")
        assert isinstance(context, ssl.SSLContext)
        assert len(context.get_ca_certs()) == 1
