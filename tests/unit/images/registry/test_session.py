"""Who asks, how often, and where redirects may lead."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.unit.images.registry.conftest import FakeNetwork

from modelyard.errors import (
    IntegrityError,
    InvalidRequest,
    ModelyardError,
    NotFound,
    Unavailable,
)
from modelyard.images.oci.documents import LAYER, MANIFEST, Descriptor

BODY = b"some bytes of a layer"
BLOB = Descriptor(
    media_type=LAYER, digest=f"sha256:{hashlib.sha256(BODY).hexdigest()}", size=len(BODY)
)
SECRET = "Basic " + base64.b64encode(b"ann:s").decode()


@pytest.fixture
def ann(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    entry = {"auth": base64.b64encode(b"ann:s").decode()}
    config = {"auths": {"registry.example": entry, "127.0.0.1:5000": entry}}
    (tmp_path / ".docker/config.json").write_text(json.dumps(config))


def redirect(to: str) -> httpx2.Response:
    return httpx2.Response(307, headers={"Location": to})


class FakeAnswer:
    """Answers who has the right header, and gives tokens."""

    def __init__(self, challenge: str, right: str) -> None:
        self.challenge = challenge
        self.right = right

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "auth.example":
            return httpx2.Response(200, json={"token": "t0ken"})
        if request.headers.get("authorization") == self.right:
            return httpx2.Response(200, content=BODY)
        return httpx2.Response(401, headers={"WWW-Authenticate": self.challenge})


def test_gets_a_token_as_anybody(network: FakeNetwork) -> None:
    challenge = 'Bearer realm="https://auth.example/token",service="s"'
    with network.repository(FakeAnswer(challenge, "Bearer t0ken")) as repository:
        assert b"".join(repository.open(BLOB)) == BODY
        assert b"".join(repository.open(BLOB)) == BODY
    asked = [request for request in network.requests if request.url.host == "auth.example"]
    assert len(asked) == 1
    assert dict(asked[0].url.params) == {"service": "s", "scope": "repository:team/a:pull"}
    assert "authorization" not in asked[0].headers


@pytest.mark.usefixtures("ann")
def test_gets_a_token_as_somebody(network: FakeNetwork) -> None:
    challenge = 'Bearer realm="https://auth.example/token"'
    with network.repository(FakeAnswer(challenge, "Bearer t0ken")) as repository:
        assert b"".join(repository.open(BLOB)) == BODY
    asked = next(request for request in network.requests if request.url.host == "auth.example")
    assert asked.headers["authorization"] == SECRET


@pytest.mark.usefixtures("ann")
def test_says_who_asks_only_when_it_is_asked(network: FakeNetwork) -> None:
    with network.repository(FakeAnswer('Basic realm="x"', SECRET)) as repository:
        assert b"".join(repository.open(BLOB)) == BODY
    assert "authorization" not in network.requests[0].headers


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    "challenge",
    ['Basic realm="x"', "", "Digest x", 'Bearer realm="https://auth.example/token"'],
)
def test_wrong_credentials_are_named_without_their_secret(
    network: FakeNetwork, challenge: str
) -> None:
    with (
        network.repository(FakeAnswer(challenge, "never")) as repository,
        pytest.raises(InvalidRequest, match=r"registry\.example does not let `ann`") as failure,
    ):
        b"".join(repository.open(BLOB))
    assert "login" in failure.value.hint
    assert len(network.requests) <= 4


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize(
    "realm", ["http://auth.example/token", "https://127.0.0.1/t", "file:///etc/passwd", "x"]
)
def test_no_token_from_where_it_is_not_safe(network: FakeNetwork, realm: str) -> None:
    with (
        network.repository(FakeAnswer(f'Bearer realm="{realm}"', "never")) as repository,
        pytest.raises(IntegrityError),
    ):
        b"".join(repository.open(BLOB))
    assert len(network.requests) == 1


@pytest.mark.parametrize("token", ["a\r\nX-Other: b", "", 1, None, ["a"]])
def test_a_token_is_only_a_token(network: FakeNetwork, token: object) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "auth.example":
            return httpx2.Response(200, json={"token": token})
        challenge = 'Bearer realm="https://auth.example/token"'
        return httpx2.Response(401, headers={"WWW-Authenticate": challenge})

    with network.repository(answer) as repository, pytest.raises(IntegrityError):
        b"".join(repository.open(BLOB))


@pytest.mark.usefixtures("ann")
def test_a_redirect_elsewhere_learns_no_secret(network: FakeNetwork) -> None:
    guard = FakeAnswer('Basic realm="x"', SECRET)

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "cdn.example":
            return httpx2.Response(200, content=BODY)
        inner = guard(request)
        return inner if inner.status_code == 401 else redirect("https://cdn.example/blob")

    with network.repository(answer) as repository:
        assert b"".join(repository.open(BLOB)) == BODY
    assert network.requests[-1].url.host == "cdn.example"
    assert "authorization" not in network.requests[-1].headers


@pytest.mark.usefixtures("ann")
def test_who_is_led_to_is_told_no_secret_even_if_it_asks(network: FakeNetwork) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "cdn.example":
            return httpx2.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return redirect("https://cdn.example/blob")

    with network.repository(answer) as repository, pytest.raises(InvalidRequest):
        b"".join(repository.open(BLOB))
    assert all("authorization" not in request.headers for request in network.requests)


@pytest.mark.parametrize(
    "location",
    [
        "http://cdn.example/blob",
        "http://127.0.0.1/blob",
        "https://127.0.0.1/blob",
        "https://localhost:8443/blob",
        "https://[::1]/blob",
        "https://user:secret@cdn.example/blob",
        "file:///etc/passwd",
        "ftp://cdn.example/blob",
    ],
)
def test_a_redirect_to_where_it_must_not(network: FakeNetwork, location: str) -> None:
    with (
        network.repository(lambda request: redirect(location)) as repository,
        pytest.raises(IntegrityError, match="not followed"),
    ):
        b"".join(repository.open(BLOB))
    assert len(network.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "https://[bad/blob",
        "https://h:ab/",
        "https://h:99999/",
        "https://h/\x01",
        "https://\u2488.x/",
    ],
)
def test_a_redirect_to_what_is_no_address(network: FakeNetwork, location: str) -> None:
    to = httpx2.Response(307, headers={"Location": location.encode()})
    with (
        network.repository(lambda request: to) as repository,
        pytest.raises(IntegrityError, match="which is no address"),
    ):
        b"".join(repository.open(BLOB))
    assert len(network.requests) == 1


def test_a_token_server_that_has_no_address(network: FakeNetwork) -> None:
    with (
        network.repository(FakeAnswer('Bearer realm="https://[bad/"', "")) as repository,
        pytest.raises(IntegrityError, match="no address"),
    ):
        b"".join(repository.open(BLOB))


def test_from_this_machine_a_redirect_to_this_machine(network: FakeNetwork) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.port == 6000:
            return httpx2.Response(200, content=BODY)
        return redirect("http://127.0.0.1:6000/blob")

    with network.repository(answer, "127.0.0.1:5000/a") as repository:
        assert b"".join(repository.open(BLOB)) == BODY


def test_redirects_have_an_end(network: FakeNetwork) -> None:
    with (
        network.repository(lambda request: redirect("/v2/again")) as repository,
        pytest.raises(IntegrityError),
    ):
        b"".join(repository.open(BLOB))
    assert len(network.requests) == 5


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_tries_again_later_and_later(network: FakeNetwork, status: int) -> None:
    answers = iter([status, status, 200])

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(next(answers), content=BODY)

    with network.repository(answer) as repository:
        assert b"".join(repository.open(BLOB)) == BODY
    assert network.sleeps == [0.5, 1.0]


def test_waits_as_long_as_it_is_asked_to_but_not_for_ever(network: FakeNetwork) -> None:
    waits = iter(["7", "100000"])

    def answer(request: httpx2.Request) -> httpx2.Response:
        wait = next(waits, None)
        if wait is None:
            return httpx2.Response(200, content=BODY)
        return httpx2.Response(429, headers={"Retry-After": wait})

    with network.repository(answer) as repository:
        assert b"".join(repository.open(BLOB)) == BODY
    assert network.sleeps == [7.0, 30.0]


def test_gives_up(network: FakeNetwork) -> None:
    with (
        network.repository(lambda request: httpx2.Response(503)) as repository,
        pytest.raises(Unavailable, match=r"registry\.example"),
    ):
        b"".join(repository.open(BLOB))
    assert len(network.requests) == 6


def test_goes_on_where_it_broke(network: FakeNetwork) -> None:
    def halves() -> Iterator[bytes]:
        yield BODY[:7]
        raise httpx2.ReadError("reset")

    def answer(request: httpx2.Request) -> httpx2.Response:
        start = request.headers.get("range")
        if start is None:
            return httpx2.Response(200, content=halves())
        assert start == "bytes=7-"
        headers = {"Content-Range": f"bytes 7-{len(BODY) - 1}/{len(BODY)}"}
        return httpx2.Response(206, content=BODY[7:], headers=headers)

    with network.repository(answer) as repository:
        assert b"".join(repository.open(BLOB)) == BODY


def test_goes_on_with_a_registry_that_begins_anew(network: FakeNetwork) -> None:
    answers = iter([BODY[:7], BODY])

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=iter([next(answers)]))

    with network.repository(answer) as repository:
        assert b"".join(repository.open(BLOB)) == BODY


@pytest.mark.parametrize("part", ["bytes 3-20/21", "bytes 7-20/99", "", "nonsense"])
def test_refuses_another_part(network: FakeNetwork, part: str) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if "range" not in request.headers:
            return httpx2.Response(200, content=iter([BODY[:7]]))
        return httpx2.Response(206, content=BODY[7:], headers={"Content-Range": part})

    with network.repository(answer) as repository, pytest.raises(IntegrityError):
        b"".join(repository.open(BLOB))


@pytest.mark.parametrize("body", [BODY + b"more", BODY[:-1] + b"X", b""])
def test_refuses_other_bytes(network: FakeNetwork, body: bytes) -> None:
    with (
        network.repository(
            lambda request: httpx2.Response(200, content=iter([body]))
        ) as repository,
        pytest.raises((IntegrityError, Unavailable)),
    ):
        b"".join(repository.open(BLOB))


def test_refuses_another_length_before_the_bytes(network: FakeNetwork) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=BODY + b"more")

    with network.repository(answer) as repository:
        stream = repository.open(BLOB)
        with pytest.raises(IntegrityError, match="25 bytes"):
            next(stream)


def test_a_manifest_without_end(network: FakeNetwork) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 65536

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=endless(), headers={"Content-Type": MANIFEST})

    with network.repository(answer) as repository, pytest.raises(IntegrityError, match="more than"):
        repository.pull_manifest()


def test_a_manifest_of_another_digest(network: FakeNetwork) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=b"{}", headers={"Content-Type": MANIFEST})

    name = f"registry.example/a@sha256:{'0' * 64}"
    with network.repository(answer, name) as repository, pytest.raises(IntegrityError):
        repository.pull_manifest()


def test_what_is_no_image(network: FakeNetwork) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=b"<html>", headers={"Content-Type": "text/html"})

    with network.repository(answer) as repository, pytest.raises(IntegrityError, match="text/html"):
        repository.pull_manifest()


def test_tells_what_the_registry_says_harmlessly(network: FakeNetwork) -> None:
    body = {"errors": [{"code": "X", "message": "no\x1b[31m such"}]}
    with (
        network.repository(lambda request: httpx2.Response(404, json=body)) as repository,
        pytest.raises(NotFound) as failure,
    ):
        repository.pull_manifest()
    assert "no?[31m such" in failure.value.message


@pytest.mark.parametrize("body", [b"", b"[]", b'{"errors": []}', b'{"errors": [1]}', b"\xff"])
def test_an_error_that_says_nothing(network: FakeNetwork, body: bytes) -> None:
    with (
        network.repository(lambda request: httpx2.Response(400, content=body)) as repository,
        pytest.raises(ModelyardError, match="400"),
    ):
        repository.pull_manifest()
