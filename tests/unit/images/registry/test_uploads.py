"""Uploads that break: what has arrived is not sent again."""

from __future__ import annotations

import hashlib
import re

import httpx2
import pytest
from tests.unit.images.registry.conftest import FakeNetwork

from modelyard.errors import IntegrityError
from modelyard.images.oci.documents import LAYER, Descriptor
from modelyard.images.registry import uploads
from modelyard.images.registry.uploads import push_blob

BODY = bytes(range(256)) * 40
BLOB = Descriptor(
    media_type=LAYER, digest=f"sha256:{hashlib.sha256(BODY).hexdigest()}", size=len(BODY)
)


class Shelf:
    """A registry in memory, which fails at the requests that it is told to."""

    def __init__(self, *failing: int, forgets: bool = False) -> None:
        self.arrived = bytearray()
        self.is_kept = False
        self._failing = failing
        self._forgets = forgets
        self._sends = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "HEAD":
            return httpx2.Response(200 if self.is_kept else 404)
        if request.method == "POST":
            self.arrived.clear()
            return self._accepted(request)
        if request.method == "GET":
            return httpx2.Response(404) if self._forgets else self._accepted(request)
        self._sends += 1
        if self._sends in self._failing:
            raise httpx2.ReadError("reset")
        return self._take(request)

    def _take(self, request: httpx2.Request) -> httpx2.Response:
        stated = re.fullmatch(r"(\d+)-(\d+)", request.headers.get("content-range", ""))
        if stated:
            assert int(stated[1]) == len(self.arrived)
            assert int(stated[2]) == len(self.arrived) + len(request.content) - 1
        self.arrived += request.content
        if request.method == "PATCH":
            return self._accepted(request)
        assert request.url.params["digest"] == BLOB.digest
        self.is_kept = True
        return httpx2.Response(201)

    def _accepted(self, request: httpx2.Request) -> httpx2.Response:
        fields = {"Location": "/v2/team/a/blobs/uploads/1?state=x%2By"}
        fields["Range"] = f"0-{max(len(self.arrived) - 1, 0)}"
        return httpx2.Response(202, headers=fields)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK", 3000)


def push(network: FakeNetwork, shelf: Shelf) -> int:
    """Bytes that were sent."""
    sent: list[int] = []
    with network.repository(shelf) as repository:
        push_blob(
            repository,
            BLOB,
            lambda offset, length: BODY[offset : offset + length],
            sent=sent.append,
        )
    return sum(sent)


def test_goes_in_pieces(network: FakeNetwork) -> None:
    shelf = Shelf()
    assert push(network, shelf) == len(BODY)
    assert shelf.arrived == BODY
    assert [request.method for request in network.requests] == [
        "HEAD", "POST", "PATCH", "PATCH", "PATCH", "PUT",
    ]  # fmt: skip
    assert network.requests[-1].url.params["state"] == "x+y"


@pytest.mark.parametrize("failing", [(1,), (2,), (4,), (1, 2, 3), (2, 4, 6)])
def test_goes_on_where_it_broke(network: FakeNetwork, failing: tuple[int, ...]) -> None:
    shelf = Shelf(*failing)
    assert push(network, shelf) == len(BODY)
    assert shelf.arrived == BODY


def test_begins_anew_where_nobody_knows(network: FakeNetwork) -> None:
    shelf = Shelf(3, forgets=True)
    push(network, shelf)
    assert shelf.arrived == BODY


def test_an_answer_that_was_lost(network: FakeNetwork) -> None:
    shelf = Shelf()

    def answer(request: httpx2.Request) -> httpx2.Response:
        done = shelf(request)
        if request.method == "PUT":
            raise httpx2.ReadError("reset")
        return done

    with network.repository(answer) as repository:
        assert push_blob(repository, BLOB, lambda at, length: BODY[at : at + length]) == "uploaded"


def test_a_registry_that_has_more_than_was_sent(network: FakeNetwork) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "HEAD":
            return httpx2.Response(404)
        if request.method in ("PATCH", "PUT"):
            return httpx2.Response(500)
        return httpx2.Response(202, headers={"Location": "/up", "Range": "0-99999"})

    with network.repository(answer) as repository, pytest.raises(IntegrityError):
        push_blob(repository, BLOB, lambda at, length: BODY[at : at + length])
