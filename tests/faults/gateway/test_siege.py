"""A real gateway and replica against hostile clients that have a right key."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.faults.runtime.siege import (
    MEGABYTE,
    GoodClient,
    TcpWire,
    bounded_memory,
    check_refusal,
    only_answer,
)
from tests.integration.gateway.kit import BEARER, KEY, ROUTE, Stage
from tests.integration.gateway.process import GatewayProcess
from tests.integration.runtime.replica import Replica, replica
from tests.integration.runtime.wire import Answer, request
from tests.programs import program
from tests.unit.runtime.malformed import HOST, MALFORMED

from modelyard.agent.gateway.config import Upstream

SCRIPT = """
from typing import Any

def run(data: Any):
    if data == "smuggled": print("it got through")
    return data
"""
PATH = "/services/digits/score"
AUTHORIZATION = f"Authorization: Bearer {KEY.text}\r\n".encode()
POST = b"POST %b HTTP/1.1\r\n" % PATH.encode() + HOST + AUTHORIZATION
SMUGGLED = request("POST", PATH, b'"smuggled"', BEARER)


@dataclass(frozen=True)
class Front:
    host: str
    port: int
    gateway: GatewayProcess
    replica: Replica

    @property
    def pids(self) -> list[int]:
        gateway = self.gateway.wait_for(lambda status: len(status.processes) == 2)
        return [gateway.pid, *gateway.processes, *self.replica.workers]

    def connect(self) -> TcpWire:
        return TcpWire(self.host, self.port)


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    stage = Stage()
    with replica(SCRIPT, max_body=MEGABYTE) as served, GatewayProcess(stage.folder) as gateway:
        upstream = Upstream(served.socket, "d", 100, "r")
        gateway.configure(replace(ROUTE, upstreams=(upstream,)))
        host, port = gateway.url().removeprefix("http://").rsplit(":", 1)
        yield Front(host, int(port), gateway, served)
    shutil.rmtree(stage.folder)


@pytest.fixture(autouse=True)
def good_client(front: Front) -> Iterator[None]:
    with GoodClient(front.connect, request("POST", PATH, b'"good"', BEARER), b'"good"'):
        yield


def post(front: Front, body: bytes, **headers: str) -> Answer:
    fields = BEARER | {name.replace("_", "-"): value for name, value in headers.items()}
    with front.connect() as wire:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(request("POST", PATH, body, fields))
        return wire.answer()


@pytest.mark.parametrize("data", MALFORMED)
def test_what_is_no_request_ends_at_the_gateway(front: Front, data: bytes) -> None:
    data = data.replace(b"/score", PATH.encode()).replace(HOST, HOST + AUTHORIZATION)
    with front.connect() as wire:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(data + SMUGGLED)
        answer = only_answer(wire.rest())
    assert answer.status in (400, 505)
    check_refusal(answer)
    assert "it got through" not in front.replica.log.read_text()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"[" * 100_000 + b"]" * 100_000, {}, 400),
        (b"[" + b"9" * 5000 + b"]", {}, 400),
        (b"[NaN]", {}, 400),
        (b'["\\ud800"]', {}, 400),
        (b'["\xff"]', {}, 400),
        (b"[" + b" " * (MEGABYTE + 1) + b"]", {}, 413),
        (b"[" + b" " * (4 * MEGABYTE) + b"]", {}, 413),
        (zlib.compress(b" " * (200 * MEGABYTE)), {"content_encoding": "deflate"}, 413),
        (b"[1]", {"content_encoding": "gzip"}, 400),
        (b"[1]", {"content_encoding": "gzip, gzip"}, 415),
        (b"[1]", {"expect": "everything"}, 417),
        (b"[1]", {"x_request_id": "a" * 101}, 431),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refusals_of_the_replica_arrive(
    front: Front, body: bytes, headers: dict[str, str], status: int
) -> None:
    with bounded_memory(front.pids, 48):
        answer = post(front, body, **headers)
    assert answer.status == status
    message = json.loads(answer.body)["message"]
    check_refusal(Answer(status, {}, json.dumps({"message": message}).encode()))


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 104857601\r\n\r\n", b"Content-Length: 999999999999\r\n\r\n"]
)
def test_a_body_past_the_limit_is_refused_before_it_is_read(front: Front, framing: bytes) -> None:
    with front.connect() as wire:
        wire.send(POST + framing)
        answer = only_answer(wire.rest())
    assert answer.status == 413
    check_refusal(answer)


@pytest.mark.parametrize(
    "beginning",
    [
        POST[:-10],
        POST + b"Content-Length: 1000\r\n\r\na",
        POST + b"Content-Length: 1000000\r\n\r\n" + b"a" * 200_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["header", "body", "long body", "chunk"],
)
def test_those_who_do_not_go_on_take_no_place_from_others(front: Front, beginning: bytes) -> None:
    """They are more than the service may have at once."""
    with bounded_memory(front.pids, 64), contextlib.ExitStack() as stack:
        for _ in range(4 * ROUTE.max_concurrent_requests):
            stack.enter_context(front.connect()).send(beginning)
        with GoodClient(front.connect, request("POST", PATH, b'"new"', BEARER), b'"new"'):
            pass


def test_slow_headers_are_cut_off(front: Front) -> None:
    with front.connect() as wire:
        wire.send(POST)
        answer = only_answer(wire.rest())
    assert answer.status == 408
    check_refusal(answer)


@pytest.mark.parametrize(
    "way",
    [("-H",), ("-B", "-s", "8192", "-x", "10"), ("-X", "-w", "10", "-y", "20", "-k", "3")],
    ids=["headers", "bodies", "readers"],
)
def test_hundreds_of_slow_clients_harm_nobody(
    front: Front, way: tuple[str, ...], tmp_path: Path
) -> None:
    """The good client of this module goes on asking meanwhile."""
    url = f"http://{front.host}:{front.port}{PATH}"
    many = ["-c", "300", "-r", "300", "-i", "1", "-l", "3", "-u", url]
    key = ["-m", f"*/*\r\n{AUTHORIZATION.decode().strip()}"]  # it takes any field but this one
    statistics = ["-g", "-o", str(tmp_path / "seen")]
    with bounded_memory(front.pids, 64):
        attack = [program("slowhttptest"), *way, *many, *key, *statistics]
        subprocess.run(attack, check=True, capture_output=True, timeout=60)
    seconds = csv.DictReader((tmp_path / "seen.csv").read_text().splitlines())
    assert max(int(one["Connected"]) + int(one["Closed"]) for one in seconds) == 300
