"""Registries that lie, break off or never end: refused, in a bounded time, with a clear error."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable

import pytest
from tests.faults.images.hostile_registry import answer, hostile_registry

from modelyard.errors import IntegrityError, ModelyardError, Unavailable
from modelyard.images.oci.documents import LAYER, MANIFEST, Descriptor
from modelyard.images.registry.client import Repository
from modelyard.images.registry.uploads import push_blob

BODY = b"the bytes of a layer" * 1000
BLOB = Descriptor(
    media_type=LAYER, digest=f"sha256:{hashlib.sha256(BODY).hexdigest()}", size=len(BODY)
)


def pull(script: Callable[[str, socket.socket], None]) -> bytes:
    with (
        hostile_registry(script) as host,
        Repository(f"{host}/a:1", sleep=lambda seconds: None) as repository,
    ):
        return b"".join(repository.open(BLOB))


def says(*parts: bytes) -> Callable[[str, socket.socket], None]:
    def script(head: str, client: socket.socket) -> None:
        for part in parts:
            client.sendall(part)

    return script


@pytest.mark.parametrize(
    "said",
    [
        answer("200 OK", BODY[::-1]),
        answer("200 OK", BODY[:-1]),
        answer("200 OK", BODY + b"!"),
        answer("200 OK", b"<html>"),
        answer("206 Partial Content", BODY[5:], content_range="bytes 5-19999/20000"),
    ],
)
def test_other_bytes(said: bytes) -> None:
    with pytest.raises(IntegrityError):
        pull(says(said))


def test_half_a_blob_again_and_again() -> None:
    half = answer("200 OK", BODY[:9000], content_length=str(len(BODY)))
    with pytest.raises(Unavailable):
        pull(says(half))


def test_half_a_blob_once() -> None:
    def script(head: str, client: socket.socket) -> None:
        if "bytes=" not in head.lower():
            client.sendall(answer("200 OK", BODY[:9000], content_length=str(len(BODY))))
            return
        start = int(head.lower().split("bytes=")[1].split("-")[0])
        content_range = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        client.sendall(answer("206 Partial Content", BODY[start:], content_range=content_range))

    assert pull(script) == BODY


def test_more_than_was_promised_in_chunks() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    with pytest.raises((IntegrityError, Unavailable)):
        pull(says(head, *[chunk] * 100))


def test_headers_without_end() -> None:
    field = b"x-more: " + b"a" * 8000 + b"\r\n"
    with pytest.raises(Unavailable):
        pull(says(b"HTTP/1.1 200 OK\r\n", *[field] * 200))


@pytest.mark.parametrize(
    "said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 99999 X\r\n\r\n", b"\0" * 999]
)
def test_what_is_no_http(said: bytes) -> None:
    with pytest.raises(ModelyardError):
        pull(says(said))


@pytest.mark.parametrize("to", ["http://192.0.2.1/x", "https://u:p@192.0.2.1/", "gopher://x/"])
def test_a_redirect_elsewhere(to: str) -> None:
    with pytest.raises(IntegrityError, match="not followed"):
        pull(says(answer("307 Temporary Redirect", location=to)))


def test_a_huge_manifest() -> None:
    def script(head: str, client: socket.socket) -> None:
        client.sendall(answer("200 OK", b"", content_type=MANIFEST, content_length=str(1 << 40)))
        for _ in range(100):
            client.sendall(b" " * (1 << 20))

    with (
        hostile_registry(script) as host,
        Repository(f"{host}/a:1") as repository,
        pytest.raises(IntegrityError, match="more than"),
    ):
        repository.pull_manifest()


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[" * 100_000,
        b'{"schemaVersion": 2, "config": {}, "layers": []}',
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2, "manifests": [], "layers": []}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_manifest(body: bytes) -> None:
    with (
        hostile_registry(says(answer("200 OK", body, content_type=MANIFEST))) as host,
        Repository(f"{host}/a:1") as repository,
        pytest.raises(IntegrityError),
    ):
        repository.pull_manifest()


@pytest.mark.parametrize(
    "location", ["", "http://192.0.2.1/upload", "ftp://x/", "https://user:p@192.0.2.1/upload"]
)
def test_an_upload_that_is_to_go_elsewhere(location: str) -> None:
    def script(head: str, client: socket.socket) -> None:
        if head.startswith("HEAD"):
            client.sendall(answer("404 Not Found"))
        else:
            client.sendall(answer("202 Accepted", location=location))

    with (
        hostile_registry(script) as host,
        Repository(f"{host}/a:1", "pull,push") as repository,
        pytest.raises(IntegrityError),
    ):
        push_blob(repository, BLOB, lambda offset, length: BODY[offset : offset + length])


def test_an_upload_that_never_gets_on() -> None:
    def script(head: str, client: socket.socket) -> None:
        if head.startswith("HEAD"):
            client.sendall(answer("404 Not Found"))
        elif head.startswith("PUT"):
            client.sendall(answer("500 Internal Server Error"))
        else:
            client.sendall(answer("202 Accepted", location="/v2/a/blobs/uploads/1", range="0-0"))

    with (
        hostile_registry(script) as host,
        Repository(f"{host}/a:1", "pull,push", sleep=lambda seconds: None) as repository,
        pytest.raises(Unavailable),
    ):
        push_blob(repository, BLOB, lambda offset, length: BODY[offset : offset + length])
