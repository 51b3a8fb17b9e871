from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.agent.gateway.forwarding import (
    Place,
    encode_head,
    end_of_head,
    length_field,
    split_path,
)
from modelyard_runtime.http.heads import split_target
from modelyard_runtime.http.server import Head, Headers

PLACE = Place("digits", b"/services/digits", b"/score")
ADDED = [b"x-forwarded-prefix: /services/digits", b"content-length: 0", b"x-request-id: id"]


def encode(headers: list[tuple[bytes, bytes]], query: str = "", version: str = "1.1") -> bytes:
    """A whole head, of a request without a body."""
    head = Head("POST", "/x", query, Headers(headers), version)
    return encode_head(head, PLACE) + length_field(0) + end_of_head(b"id")


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("/services/digits/score", ("digits", b"/score")),
        ("/services/digits/", ("digits", b"/")),
        ("/services/digits", ("digits", b"/")),
        ("/services/digits//a", ("digits", b"//a")),
        ("/services/digits/a b?c#d", ("digits", b"/a%20b%3Fc%23d")),
        ("/services/digits/v1/models/m:predict", ("digits", b"/v1/models/m:predict")),
        ("/services/", ("", b"/")),
        ("/service/digits/score", None),
        ("/", None),
    ],
)
def test_a_path_names_a_service_and_the_path_at_its_replica(path, split) -> None:
    place = split_path(path)
    assert (place and (place.service, place.path)) == split


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\\%"), max_size=40)
)
def test_a_replica_reads_the_path_that_the_client_wrote(rest: str) -> None:
    if {".", ".."} & set(rest.split("/")):
        return  # never comes this far
    place = split_path(f"/services/digits/{rest}")
    assert place is not None
    assert split_target(place.path) == (f"/{rest}", "")


def test_the_prefix_is_escaped_like_the_path() -> None:
    place = split_path("/services/a b/c d")
    assert place is not None
    assert place.prefix == b"/services/a%20b"


def test_the_head_is_written_anew() -> None:
    head = encode([(b"host", b"h"), (b"x-a", b"1"), (b"content-length", b"2")], query="q=%20")
    assert head == (
        b"POST /score?q=%20 HTTP/1.1\r\nhost: h\r\nx-a: 1\r\n"
        b"x-forwarded-prefix: /services/digits\r\ncontent-length: 0\r\nx-request-id: id\r\n\r\n"
    )


@pytest.mark.parametrize(
    "field",
    [
        (b"authorization", b"Bearer secret"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"7"),
        (b"expect", b"100-continue"),
        (b"upgrade", b"h2c"),
        (b"te", b"trailers"),
        (b"trailer", b"x-a"),
        (b"keep-alive", b"5"),
        (b"proxy-authorization", b"Basic eA=="),
        (b"x-request-id", b"theirs"),
        (b"x-forwarded-prefix", b"/theirs"),
    ],
    ids=lambda field: field[0].decode(),
)
def test_what_ends_at_the_gateway_is_not_passed_on(field: tuple[bytes, bytes]) -> None:
    head = encode([(b"host", b"h"), field, (b"x-kept", b"1")])
    assert head.split(b"\r\n")[1:-2] == [
        b"host: h",
        b"x-kept: 1",
        *ADDED,
    ]


def test_what_the_client_names_as_its_connections_own_is_not_passed_on() -> None:
    head = encode(
        [
            (b"host", b"h"),
            (b"connection", b"X-Secret, close"),
            (b"connection", b"host"),
            (b"x-secret", b"1"),
        ]
    )
    assert b"x-secret" not in head
    assert b"connection" not in head
    assert b"host: h" in head


def test_what_follows_does_not_hide_what_the_client_has_named() -> None:
    named = [(b"connection", b"x-secret"), (b"connection", b"keep-alive"), (b"x-secret", b"1")]
    assert b"x-secret" not in encode([(b"host", b"h"), *named])


def test_repeated_fields_are_all_passed_on() -> None:
    head = encode([(b"host", b"h"), (b"x-forwarded-for", b"1"), (b"x-forwarded-for", b"2")])
    assert head.count(b"x-forwarded-for") == 2


def test_an_old_client_without_a_host_gets_one() -> None:
    assert b"host: modelyard\r\n" in encode([], version="1.0")
