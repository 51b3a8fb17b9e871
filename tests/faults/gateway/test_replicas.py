"""Replicas that die, vanish, restart or talk nonsense while a gateway depends on them."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.gateway.kit import BEARER, Client, Serving, Stage, route, until

from modelyard.agent.gateway.config import Upstream

pytestmark = pytest.mark.anyio

RUNTIME = """
import asyncio, os, signal, socket, sys
from modelyard_runtime.http.server import Reply, Response, Server

def handle(request):
    if request.body == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    if request.body == b"hang":
        open(sys.argv[2], "w").close()
        return Reply()
    return Response(200, request.body)

async def main():
    await Server(handle).start(socket.socket(fileno=int(sys.argv[1])))
    await asyncio.sleep(1000)

asyncio.run(main())
"""


class Supervised:
    """A runtime in a process of its own, on a socket that outlives it, as a supervisor's does."""

    def __init__(self, folder: Path, name: str) -> None:
        self.upstream = Upstream(str(folder / f"{name}.sock"), "deployment-a", 100, name)
        self.hanging = folder / f"{name}.hangs"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.upstream.socket)
        self.socket.listen(100)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.process is not None:
            self.process.wait()
        descriptor = self.socket.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUNTIME, str(descriptor), str(self.hanging)],
            pass_fds=[descriptor],
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.kill()
        self.socket.close()


@pytest.fixture
def supervised(stage: Stage) -> Iterator[Supervised]:
    replica = Supervised(stage.folder, "real")
    replica.start()
    yield replica
    replica.close()


class Gone:
    """A replica that nobody listens for."""

    def __init__(self, stage: Stage) -> None:
        self.upstream = Upstream(str(stage.folder / "gone.sock"), "gone", 100, "gone")


class Deaf:
    """A replica that takes connections and closes them without reading a byte."""

    def __init__(self, stage: Stage, pause: float) -> None:
        self.upstream = Upstream(str(stage.folder / "deaf.sock"), "deaf", 100, "deaf")
        self.met = 0
        self._pause = pause
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.upstream.socket)
        self._socket.listen()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Deaf:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.met += 1
            time.sleep(self._pause)
            connection.close()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A replica that does to each connection what a test says."""

    def __init__(self, stage: Stage, script: Script, name: str = "odd") -> None:
        self.upstream = Upstream(str(stage.folder / f"{name}.sock"), "odd", 100, name)
        self.heads: list[bytes] = []
        self._script = script

    async def __aenter__(self) -> Scripted:
        self._server = await asyncio.start_unix_server(self._serve, self.upstream.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._script(reader, writer)
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one whole request from a connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return await reader.readexactly(length)


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def score(client: Client, body: bytes = b"x", **headers: str) -> tuple[int, bytes]:
    answer = await client.request("/services/digits/score", body, headers={**BEARER, **headers})
    return answer.status, answer.body


async def test_a_replica_killed_in_a_request_is_502_with_the_requests_id(
    supervised: Supervised,
) -> None:
    async with Serving(route(supervised)) as gateway:
        client = gateway.client()
        assert await score(client) == (200, b"x")
        answer = await client.request(
            "/services/digits/score", b"die", headers={**BEARER, "x-request-id": "mine"}
        )
        assert answer.status == 502
        body = json.loads(answer.body)
        assert (body["code"], body["request_id"]) == ("replica_lost", "mine")
        supervised.start()
        assert await score(client) == (200, b"x")


async def test_only_requests_at_the_killed_replica_suffer(
    stage: Stage, supervised: Supervised
) -> None:
    other = await stage.replica("other")
    async with Serving(route(supervised, other)) as gateway:
        client = gateway.client()
        hanging = [asyncio.ensure_future(score(gateway.client(), b"hang"))]
        await asyncio.sleep(0.1)
        if not supervised.hanging.exists():  # it went to the other, which answers
            hanging.append(asyncio.ensure_future(score(gateway.client(), b"hang")))
            await until(supervised.hanging.exists)
        supervised.kill()
        statuses = [status for status, _ in await asyncio.gather(*hanging)]
        assert statuses[-1] == 502
        # Its socket is still open, so that one request may wait there for its next runtime; all
        # others find the replica that lives.
        waiting = asyncio.ensure_future(score(gateway.client(), b"1"))
        await asyncio.sleep(0.1)
        if waiting.done():
            waiting = asyncio.ensure_future(score(gateway.client(), b"1"))
            await asyncio.sleep(0.1)
        for _ in range(20):
            assert await score(client) == (200, b"x")
        supervised.start()
        assert await waiting == (200, b"1")


async def test_what_may_run_twice_is_answered_by_another_replica(
    stage: Stage, supervised: Supervised
) -> None:
    async with Serving(route(supervised)) as gateway:
        hanging = asyncio.ensure_future(
            score(gateway.client(), b"hang", **{"idempotency-key": "one"})
        )
        await until(supervised.hanging.exists)
        gateway.change(route(supervised, await stage.replica("other")))
        supervised.kill()
        assert await hanging == (200, b"hang")


async def test_requests_wait_while_a_runtime_restarts_behind_its_socket(
    supervised: Supervised,
) -> None:
    async with Serving(route(supervised)) as gateway:
        client = gateway.client()
        assert await score(client) == (200, b"x")
        supervised.kill()
        waiting = [asyncio.ensure_future(score(gateway.client())) for _ in range(10)]
        await asyncio.sleep(0.2)
        supervised.start()
        assert await asyncio.gather(*waiting) == [(200, b"x")] * 10


async def test_a_replica_killed_while_idle_costs_no_request(supervised: Supervised) -> None:
    """The write on a connection whose other end has just died is never a failed request."""
    async with Serving(route(supervised)) as gateway:
        clients = [gateway.client() for _ in range(5)]
        for _ in range(5):
            answers = await asyncio.gather(*(score(client) for client in clients))
            assert answers == [(200, b"x")] * 5
            supervised.kill()
            supervised.start()


async def test_a_replica_bound_anew_to_its_path_is_found_again(stage: Stage) -> None:
    replica = await stage.replica("a")
    async with Serving(route(replica)) as gateway:
        client = gateway.client()
        for _ in range(3):
            assert await score(client) == (200, b"x")
            await replica.stop()
            Path(replica.upstream.socket).unlink()
            waiting = asyncio.ensure_future(score(client))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            await replica.start()
            assert await waiting == (200, b"x")


async def test_a_replica_that_nobody_listens_for_costs_no_request(stage: Stage) -> None:
    async with Serving(route(Gone(stage), await stage.replica("a"))) as gateway:
        client = gateway.client()
        assert [await score(client) for _ in range(30)] == [(200, b"x")] * 30


async def test_without_any_replica_that_listens_it_is_503_after_the_wait(stage: Stage) -> None:
    async with Serving(route(Gone(stage), max_queue_wait=0.3)) as gateway:
        answer = await gateway.client().request("/services/digits/score", b"x")
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_replica_that_drains_while_it_is_still_in_the_configuration_costs_no_request(
    stage: Stage,
) -> None:
    """Worse than what the agent does, which removes a replica first; and still nothing fails."""
    staying, leaving = await stage.replica("stays"), await stage.replica("leaves")
    answers: list[tuple[int, bytes]] = []
    over = asyncio.Event()

    async def load(gateway: Serving) -> None:
        client = gateway.client()
        while not over.is_set():
            answers.append(await score(client))

    async with Serving(route(staying, leaving)) as gateway:
        tasks = [asyncio.ensure_future(load(gateway)) for _ in range(8)]
        for _ in range(5):
            served = len(leaving.requests)
            await until(lambda served=served: len(leaving.requests) > served + 30)
            await leaving.stop()
            await leaving.start()
        over.set()
        await asyncio.gather(*tasks)
    assert set(answers) == {(200, b"x")}


async def test_connections_that_end_unread_are_tried_again_and_run_once(stage: Stage) -> None:
    """A replica that closes after each answer without saying so: the gateway meets every race."""
    ran: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ran.append(await replica.request(reader))
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with Scripted(stage, script) as replica, Serving(route(replica)) as gateway:
        client = gateway.client()
        bodies = [str(number).encode() for number in range(300)]
        for body in bodies:
            assert await score(client, body) == (200, b"ok")
    assert ran == bodies


async def test_a_request_that_was_read_is_never_sent_twice(stage: Stage) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one.request(reader)

    async with Scripted(stage, script, "one") as one, Serving(route(one)) as gateway:
        client = gateway.client()
        for body in (b"x", b"x" * 5_000_000):
            status, answer = await score(client, body)
            assert (status, json.loads(answer)["code"]) == (502, "replica_lost")
    assert len(one.heads) == 2


@pytest.mark.parametrize("pause", [0.0, 0.01], ids=["before it arrives", "after it arrived"])
@pytest.mark.parametrize("size", [1, 250_000])
async def test_a_request_that_was_not_read_goes_to_another_replica(
    stage: Stage, size: int, pause: float
) -> None:
    other = await stage.replica("other")
    with Deaf(stage, pause) as deaf:
        async with Serving(route(deaf, other)) as gateway:
            client = gateway.client()
            for _ in range(10):
                assert await score(client, b"x" * size) == (200, b"x" * size)
    assert deaf.met
    assert len(other.requests) == 10


async def test_a_large_request_is_sent_once_even_if_nobody_reads_it(stage: Stage) -> None:
    """Its body was passed on as it came, and is not there any more."""
    with Deaf(stage, 0.05) as deaf:
        async with Serving(route(deaf)) as gateway:
            status, answer = await score(gateway.client(), b"x" * 5_000_000)
            assert (status, json.loads(answer)["code"]) == (502, "replica_lost")
    assert deaf.met == 1


async def test_a_large_request_waits_for_a_replica_that_listens(stage: Stage) -> None:
    body = b"x" * 5_000_000
    async with Serving(route(Gone(stage), await stage.replica("a"))) as gateway:
        client = gateway.client()
        for _ in range(4):
            assert await score(client, body) == (200, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ncut",
        b"HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\ncut",
    ],
)
async def test_an_answer_that_breaks_off_is_not_taken_for_whole(
    stage: Stage, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.request(reader)
        writer.write(answer)
        await writer.drain()

    async with Scripted(stage, script) as replica, Serving(route(replica)) as gateway:
        with pytest.raises(asyncio.IncompleteReadError):
            await score(gateway.client())
        assert gateway.draining() == {}
    assert len(replica.heads) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "bad_answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "bad_answer"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            "bad_answer",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\ncut off", "replica_lost"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "replica_lost"),
        (b"HTT", "replica_lost"),
    ],
)
async def test_what_is_no_answer_is_502(stage: Stage, answer: bytes, code: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.request(reader)
        writer.write(answer)
        await writer.drain()

    async with Scripted(stage, script) as replica, Serving(route(replica)) as gateway:
        status, body = await score(gateway.client())
    assert (status, json.loads(body)["code"]) == (502, code)
    assert len(replica.heads) == 1


async def test_a_timeout_closes_the_connection_to_the_replica(stage: Stage) -> None:
    closed = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.request(reader)
        assert await reader.read() == b""
        closed.set()

    limits = {"scoring_timeout": 0.2}
    async with Scripted(stage, script) as replica, Serving(route(replica, **limits)) as gateway:
        status, body = await score(gateway.client())
        assert (status, json.loads(body)["code"]) == (504, "scoring_timeout")
        await closed.wait()


async def test_a_second_answer_is_nobodys(stage: Stage) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await replica.request(reader)
        good = OK.replace(b"ok", body)
        writer.write(good + OK.replace(b"ok", b"no"))
        await writer.drain()
        await reader.read()

    async with Scripted(stage, script) as replica, Serving(route(replica)) as gateway:
        client = gateway.client()
        for number in range(10, 20):
            body = str(number).encode()
            assert await score(client, body) == (200, body)


async def test_what_a_replica_says_unasked_is_nobodys(stage: Stage) -> None:
    spoke = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await replica.request(reader)
        writer.write(OK.replace(b"ok", body))
        await asyncio.sleep(0.05)
        writer.write(OK.replace(b"ok", b"no"))
        await reader.read()  # until the gateway hangs up
        spoke.set()

    async with Scripted(stage, script) as replica, Serving(route(replica)) as gateway:
        client = gateway.client()
        for number in range(10, 13):
            spoke.clear()
            body = str(number).encode()
            assert await score(client, body) == (200, body)
            await spoke.wait()
