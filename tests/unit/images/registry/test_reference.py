"""Names of images in registries."""

from __future__ import annotations

import pytest

from modelyard.errors import InvalidRequest
from modelyard.images.registry.reference import parse_name

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry.example.org/team/digits:1", ("registry.example.org", "team/digits", "1", None)),
        ("registry.example.org:5000/digits", ("registry.example.org:5000", "digits", None, None)),
        (f"localhost/a@{DIGEST}", ("localhost", "a", None, DIGEST)),
        (f"127.0.0.1:5000/a/b:t@{DIGEST}", ("127.0.0.1:5000", "a/b", "t", DIGEST)),
        ("[::1]:5000/a:t", ("[::1]:5000", "a", "t", None)),
        ("python:3.11-slim", ("docker.io", "library/python", "3.11-slim", None)),
        ("team/digits", ("docker.io", "team/digits", None, None)),
        ("docker.io/python", ("docker.io", "library/python", None, None)),
        ("host.example/a__b/c-d.e_f", ("host.example", "a__b/c-d.e_f", None, None)),
    ],
)
def test_is_read(text: str, expected: tuple[str | None, ...]) -> None:
    assert tuple(parse_name(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        ":1",
        "a:",
        "a@",
        "a@sha256:12",
        f"a@sha512:{'a' * 64}",
        "A/",
        "host.example/A",
        "host.example/../b",
        "host.example//b",
        "host.example/b/",
        "host.example/b:.1",
        "host.example/b:" + "a" * 129,
        "host.example/" + "a" * 256,
        "user:pass@host.example/b",
        "https://host.example/b",
        "host.example/b?c",
        "host.example/b c",
        "host.example/b\n",
        f"host.example/b@{DIGEST}\n",
        "host.example:123456/b",
        "-host.example/b",
    ],
)
def test_refuses_what_is_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_name(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:5000/a", "http://localhost:5000"),
        ("127.0.0.1/a", "http://127.0.0.1"),
        ("[::1]:5000/a", "http://[::1]:5000"),
        ("registry.example.org/a", "https://registry.example.org"),
        ("127.0.0.1.example.org/a", "https://127.0.0.1.example.org"),
        ("localhost.example.org:80/a", "https://localhost.example.org:80"),
        ("python", "https://registry-1.docker.io"),
    ],
)
def test_plain_http_is_for_this_machine(text: str, url: str) -> None:
    assert parse_name(text).url == url


def test_selects_by_digest_first() -> None:
    assert parse_name(f"h.example/a:1@{DIGEST}").selector == DIGEST
    assert parse_name("h.example/a:1").selector == "1"
    assert parse_name("h.example/a").selector == "latest"


def test_text_is_the_whole_name() -> None:
    assert str(parse_name("python:3")) == "docker.io/library/python:3"
