"""Real workers: where calls are made, keys, figures, limits, parts, sockets, TLS."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.runtime.replica import Replica, replica
from tests.integration.runtime.wire import PATIENCE, Wire, request

from modelyard_runtime.auth import ServiceKey

KEY = ServiceKey("0123456789abcdef", "s" * 43)
BEARER = {"authorization": f"Bearer {KEY.text}"}
KEYS = [{"id": KEY.id, "hash": KEY.hash}]

SCRIPT = """
import os, threading, time, sqlite3

def init():
    global connection
    connection = sqlite3.connect(":memory:")  # which only the thread that has made it may use

def run(data: list):
    name, *rest = data
    if name == "sleep": time.sleep(rest[0])
    if name == "spin":
        while True: pass
    if name == "nan": return [float("nan"), 1.0]
    if name == "thread": return threading.current_thread() is threading.main_thread()
    if name == "select": return connection.execute("select 42").fetchone()[0]
    return data
"""
STREAM = """
import time

def run(data: list):
    for number in range(data[0]):
        if number == data[1]: time.sleep(data[2])
        if number == data[3]: raise ValueError("secret")
        yield f"{number} "
"""


def figures(running: Replica, **headers: str) -> dict[tuple[str, str], float]:
    """Every sample of `/metrics` by its name and label values."""
    with Wire(running.socket) as wire:
        wire.send(request("GET", "/metrics", headers=headers, close=True))
        answer = wire.answer()
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def eventually(measure: Callable[[], Any], wanted: Any) -> None:
    """Wait until something is measured; other workers' figures come a little later."""
    deadline = time.monotonic() + PATIENCE
    while (measured := measure()) != wanted:
        assert time.monotonic() < deadline, measured
        time.sleep(0.02)


PRINTING = """
import asyncio, logging, sys, threading
from concurrent.futures import ThreadPoolExecutor

print("import")
pool = ThreadPoolExecutor(1)

def init():
    print("init")

{head} run(data: str):
    print("out", data)
    print("err", data, file=sys.stderr)
    logging.warning("logged %s", data)
    {wait}
    list(pool.map(print, ["pool " + data]))
    thread = threading.Thread(target=print, args=["thread " + data])
    thread.start(); thread.join()
    if data == "bad": raise ValueError(data)
    print("half", data, end="")
"""


@pytest.mark.parametrize(
    ("head", "wait"), [("def", "pass"), ("async def", "await asyncio.sleep(0.01)")]
)
def test_what_a_script_prints_belongs_to_its_request(head: str, wait: str) -> None:
    with replica(PRINTING.format(head=head, wait=wait), workers=1) as running:
        with Wire(running.socket) as one, Wire(running.socket) as two:
            for wire, name in ((one, "good"), (two, "bad")):
                wire.send(request("POST", "/score", name.encode(), {"x-request-id": f"id-{name}"}))
            statuses = one.answer().status, two.answer().status
        lines = running.log.read_text().splitlines()
    assert statuses == (200, 500)
    assert {"import", "init"} <= set(lines)
    for name, last in (("good", "half good"), ("bad", "ValueError: bad")):
        start = f"request id-{name}: "
        own = [line.removeprefix(start) for line in lines if line.startswith(start)]
        said = [f"{what} {name}" for what in ("out", "err", "pool", "thread")]
        assert {*said, f"WARNING:root:logged {name}", last} <= set(own)
        assert not any(name in line for line in lines if not line.startswith(start))


class TestCalls:
    def test_are_made_in_the_main_thread_fast_or_slow(self) -> None:
        with replica(SCRIPT, workers=1) as running, Wire(running.socket) as wire:
            for number in range(300):
                name = (b'["thread"]', b'["select"]', b'["sleep", 0.06]')[
                    0 if number % 2 else 2 if number % 100 == 50 else 1
                ]
                wire.send(request("POST", "/score", name))
                assert wire.answer().json() in (True, 42, ["sleep", 0.06])

    def test_health_is_answered_when_a_fast_script_turns_slow(self) -> None:
        with replica(SCRIPT, workers=1) as running, Wire(running.socket) as wire:
            for _ in range(200):
                wire.send(request("POST", "/score", b'["fast"]'))
                assert wire.answer().status == 200
            for _ in range(2):  # the first of them may hold up the event loop
                wire.send(request("POST", "/score", b'["sleep", 0.5]'))
                assert wire.answer().status == 200
            wire.send(request("POST", "/score", b'["sleep", 1]'))
            assert running.get("/livez").status == 200
            assert running.get("/readyz").status == 200
            assert wire.answer().json() == ["sleep", 1]

    def test_one_that_never_ends_costs_its_worker(self) -> None:
        with replica(SCRIPT, workers=1, scoring_timeout=0.5) as running:
            (stuck,) = running.workers
            with Wire(running.socket) as wire:
                wire.send(request("POST", "/score", b'["spin"]'))
                assert wire.answer().status == 504
            running.wait_for(lambda status: status["workers"] not in ([], [stuck]))
            assert running.score(["after"]).json() == ["after"]

    def test_sigterm_is_heard_while_one_holds_the_main_thread(self) -> None:
        with replica(SCRIPT, workers=1) as running, Wire(running.socket) as wire:
            wire.send(request("POST", "/score", b'["sleep", 1]'))
            time.sleep(0.2)
            os.kill(running.workers[0], 15)
            with Wire(running.socket) as other:
                other.send(request("GET", "/livez"))
                other.answer()
            assert wire.answer().json() == ["sleep", 1]


class TestBatches:
    def test_of_many_clients(self) -> None:
        script = (
            "from modelyard_runtime import batchable\n"
            "@batchable\n"
            "def run(rows: list[int]) -> list[int]:\n"
            "    if 13 in rows: raise ValueError\n"
            "    return [2 * row for row in rows]\n"
        )
        failures: list[Any] = []

        def client(number: int) -> None:
            with Wire(running.socket) as wire:
                for count in range(50):
                    row = number * 100 + count
                    wire.send(request("POST", "/score", b"[%d]" % row))
                    answer = wire.answer()
                    right = answer.status == 500 if row == 13 else answer.json() == [2 * row]
                    if not right:
                        failures.append((row, answer))

        with replica(script, workers=2) as running:
            threads = [threading.Thread(target=client, args=[number]) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failures == []
            eventually(lambda: figures(running)["modelyard_requests_total", "score,200"], 399)
            assert 0 < figures(running)["modelyard_batch_rows_sum", ""] <= 400


class TestFigures:
    def test_of_all_workers_are_added_up(self) -> None:
        with replica(SCRIPT, workers=2) as running:
            for _ in range(20):
                assert running.score(["nan"]).json() == [None, 1.0]
            assert running.score("no list").status in (400, 422)
            scored = "modelyard_requests_total", "score,200"
            eventually(lambda: figures(running).get(scored), 20)
            values = figures(running)
            assert values["modelyard_non_finite_answers_total", ""] == 20
            assert values["modelyard_stage_duration_seconds_count", "run"] == 20
            assert values["modelyard_workers_ready", ""] == 2
            assert values["modelyard_process_resident_memory_bytes", "1"] > 1e6

    def test_survive_their_worker(self) -> None:
        with replica(SCRIPT, workers=1) as running:
            assert running.score(["a"]).status == 200
            eventually(lambda: figures(running)["modelyard_requests_total", "score,200"], 1)
            time.sleep(0.6)  # for the next heartbeat
            (before,) = running.workers
            os.kill(before, 9)
            running.wait_for(lambda status: status["workers"] not in ([], [before]))
            values = figures(running)
            assert values["modelyard_requests_total", "score,200"] == 1
            assert values["modelyard_worker_restarts_total", ""] == 1

    def test_of_requests_in_flight(self) -> None:
        with replica(SCRIPT, workers=1) as running, Wire(running.socket) as wire:
            wire.send(request("POST", "/score", b'["sleep", 1]'))
            eventually(lambda: figures(running)["modelyard_requests_in_flight", ""], 1)
            assert wire.answer().status == 200
            eventually(lambda: figures(running)["modelyard_requests_in_flight", ""], 0)


class TestKeys:
    def test_are_needed_for_all_but_health(self) -> None:
        with replica(SCRIPT, keys=KEYS) as running:
            for path in ("/", "/livez", "/readyz"):
                assert running.get(path).status == 200
            for path in ("/metrics", "/swagger.json", "/none"):
                assert running.get(path).status == 401
            refused = running.score(["a"])
            assert refused.status == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert running.score(["a"], **BEARER).json() == ["a"]
            assert running.score(["a"], authorization=BEARER["authorization"] + "x").status == 401
            eventually(
                lambda: figures(running, **BEARER).get(("modelyard_requests_refused_total", "key")),
                5,
            )

    def test_are_asked_for_before_the_body_is_sent(self) -> None:
        with replica(SCRIPT, keys=KEYS) as running, Wire(running.socket) as wire:
            wire.send(b"POST /score HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n")
            assert wire.answer().status == 401


class TestRoom:
    def test_is_limited(self) -> None:
        settings = {"workers": 1, "max_in_flight": 3, "max_queue": 1}
        with (
            replica(SCRIPT, **settings) as running,
            Wire(running.socket) as first,
            Wire(running.socket) as second,
        ):
            first.send(request("POST", "/score", b'["sleep", 1]'))
            eventually(lambda: figures(running)["modelyard_requests_in_flight", ""], 1)
            eventually(lambda: figures(running)["modelyard_queue_length", ""], 0)
            second.send(request("POST", "/score", b'["second"]'))
            eventually(lambda: figures(running)["modelyard_queue_length", ""], 1)
            with Wire(running.socket) as third:
                third.send(request("POST", "/score", b'["third"]'))
                eventually(lambda: figures(running)["modelyard_queue_length", ""], 2)
                refused = running.score(["fourth"])
                assert (refused.status, refused.headers["retry-after"]) == (503, "1")
                assert refused.headers["x-request-id"]
                assert first.answer().status == 200
                assert second.answer().json() == ["second"]
                assert third.answer().json() == ["third"]

    def test_waiting_has_an_end(self) -> None:
        settings = {"workers": 1, "max_queue_wait": 0.2}
        with replica(SCRIPT, **settings) as running, Wire(running.socket) as first:
            first.send(request("POST", "/score", b'["sleep", 1]'))
            eventually(lambda: figures(running)["modelyard_requests_in_flight", ""], 1)
            assert running.score(["second"]).status == 503
            assert first.answer().status == 200
            assert running.score(["third"]).status == 200


class TestParts:
    @staticmethod
    def chunks(wire: Wire) -> list[bytes]:
        found = []
        while chunk := wire.chunk():
            found.append(chunk)
        return found

    def test_arrive(self) -> None:
        with replica(STREAM, workers=1) as running, Wire(running.socket) as wire:
            for _ in range(3):
                wire.send(request("POST", "/score", b"[100, -1, 0, -1]"))
                assert wire.answer().headers["transfer-encoding"] == "chunked"
                assert b"".join(self.chunks(wire)) == b"".join(b"%d " % n for n in range(100))

    def test_arrive_as_they_are_made(self) -> None:
        with replica(STREAM, workers=1) as running, Wire(running.socket) as wire:
            wire.send(request("POST", "/score", b"[2, 1, 1, -1]"))
            wire.answer()
            assert wire.chunk() == b"0 "
            assert running.get("/livez").status == 200
            assert self.chunks(wire) == [b"1 "]

    def test_that_cannot_be_made_cut_the_connection(self) -> None:
        with replica(STREAM, workers=1) as running, Wire(running.socket) as wire:
            wire.send(request("POST", "/score", b"[10, -1, 0, 5]"))
            assert wire.answer().status == 200
            assert b"0\r\n\r\n" not in wire.rest()
            assert "ValueError: secret" in running.log.read_text()
            assert running.score([1, -1, 0, -1]).status == 200

    def test_have_their_time_each(self) -> None:
        with replica(STREAM, workers=1, scoring_timeout=1.0) as running:
            (before,) = running.workers
            with Wire(running.socket) as wire:
                wire.send(request("POST", "/score", b"[3, 2, 100, -1]"))
                assert wire.answer().status == 200
                assert b"0\r\n\r\n" not in wire.rest()
            running.wait_for(lambda status: status["workers"] not in ([], [before]))
            assert running.score([1, -1, 0, -1]).status == 200


def listening(running: Replica) -> int:
    """One more socket for a replica, on TCP; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    running.inherited.append(listener)
    running.config["fds"] = [listener.fileno()]
    return int(listener.getsockname()[1])


def ask(port: int, tls: ssl.SSLContext | None = None) -> Any:
    if tls is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=tls)
    try:
        connection.request("POST", "/score", json.dumps(["a"]))
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


class TestSockets:
    def test_several_are_served(self) -> None:
        running = Replica(SCRIPT)
        port = listening(running)
        running.start()
        try:
            running.wait_until_ready()
            assert ask(port) == ["a"]
            assert running.score(["b"]).json() == ["b"]
        finally:
            running.stop()

    def test_those_of_tcp_are_encrypted(self, tmp_path: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
        certificate.private_key_pem.write_to_path(str(tmp_path / "key"))
        authority.cert_pem.write_to_path(str(tmp_path / "ca"))
        files = {"cert": str(tmp_path / "cert"), "key": str(tmp_path / "key")}
        running = Replica(SCRIPT, tls={**files, "client_ca": str(tmp_path / "ca")})
        port = listening(running)
        running.start()
        try:
            running.wait_until_ready()
            nobody, somebody = ssl.create_default_context(), ssl.create_default_context()
            for context in (nobody, somebody):
                authority.configure_trust(context)
            authority.issue_cert("client@example.org").configure_cert(somebody)
            assert ask(port, somebody) == ["a"]
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask(port, nobody)
            assert running.score(["b"]).json() == ["b"]
        finally:
            running.stop()

    def test_a_certificate_that_is_none_is_refused_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "cert").write_text("nonsense")
        files = {"cert": str(tmp_path / "cert"), "key": str(tmp_path / "cert")}
        with replica(SCRIPT, ready=False, tls=files) as running:
            assert running.process.wait(PATIENCE) == 2
