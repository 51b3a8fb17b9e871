"""gRPC of a real replica: several workers on one address, deadlines, draining, keys, TLS."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import trustme
from tests.integration.runtime.replica import Replica, is_alive
from tritonclient.utils import InferenceServerException

from modelyard_runtime.auth import ServiceKey

SCRIPT = """
import os
import time

def run(x: list[float]) -> list[int]:
    if x[0] < 0:
        os._exit(7)
    time.sleep(x[0])
    return [os.getpid()]
"""
ASYNC_SCRIPT = """
import asyncio
import os

cancelled = 0

async def run(x: list[float]) -> list[int]:
    global cancelled
    try:
        await asyncio.sleep(x[0])
    except asyncio.CancelledError:
        cancelled += 1
        raise
    return [cancelled]
"""
KEY = ServiceKey("a" * 16, "b" * 43)


def holder() -> socket.socket:
    """A socket that holds an address for the workers."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    return held


@contextlib.contextmanager
def replica(script: str = SCRIPT, *, ready: bool = True, **settings: Any) -> Iterator[Replica]:
    running = Replica(script, **settings)
    running.inherited.append(held := holder())
    running.config["grpc_fd"] = held.fileno()
    running.grpc = f"127.0.0.1:{held.getsockname()[1]}"
    running.start()
    try:
        if ready:
            running.wait_until_ready()
        yield running
    finally:
        running.stop()


def connected(served: Replica) -> Any:
    """A client with a connection of its own."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    return triton.InferenceServerClient(served.grpc, channel_args=own)


def infer(client: Any, seconds: float = 0.0, **options: Any) -> int:
    x = triton.InferInput("x", [1], "FP64")
    x.set_data_from_numpy(np.array([seconds]))
    return int(client.infer("flowers", [x], **options).as_numpy("output")[0])


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers_of(served: Replica, connections: int) -> set[int]:
    answers = set()
    for _ in range(connections):
        with connected(served) as client:
            answers.add(infer(client))
    return answers


def test_every_worker_answers_at_the_one_address() -> None:
    with replica() as served:
        eventually(lambda: answers_of(served, 10) == set(served.workers))


def test_calls_are_counted_with_the_others() -> None:
    with replica(workers=1) as served, connected(served) as client:
        infer(client)
        eventually(lambda: b'protocol="grpc"' in served.get("/metrics").body)


def test_a_worker_that_dies_is_replaced_at_the_address() -> None:
    with replica() as served:
        before = served.workers
        with connected(served) as client, pytest.raises(InferenceServerException) as caught:
            infer(client, -1.0)
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        eventually(lambda: len(served.workers) == 2 and served.workers != before)
        eventually(lambda: answers_of(served, 10) == set(served.workers))


def test_health_answers_while_a_call_computes() -> None:
    with replica(workers=1) as served, ThreadPoolExecutor() as pool, connected(served) as client:
        slow = pool.submit(infer, client, 2.0)
        with connected(served) as other:
            while not slow.done():
                assert other.is_server_live(client_timeout=10)
        assert slow.result() in served.workers


def test_the_limit_of_a_call_is_that_of_a_score() -> None:
    with replica(ASYNC_SCRIPT, scoring_timeout=0.3) as served, connected(served) as client:
        with pytest.raises(InferenceServerException) as caught:
            infer(client, 60.0)
        assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
        assert "0.3 s" in caught.value.message()


def test_the_client_s_deadline_is_its_own() -> None:
    with replica(ASYNC_SCRIPT, workers=1) as served, connected(served) as client:
        with pytest.raises(InferenceServerException) as caught:
            infer(client, 60.0, client_timeout=0.2)
        assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
        assert infer(client) in (0, 1)


def test_a_drain_finishes_what_is_in_flight() -> None:
    with replica(workers=1) as served, ThreadPoolExecutor() as pool, connected(served) as client:
        assert infer(client)
        slow = pool.submit(infer, client, 2.0)
        eventually(lambda: b"modelyard_requests_in_flight 1" in served.get("/metrics").body)
        (worker,) = served.workers
        os.kill(served.process.pid, signal.SIGTERM)
        assert slow.result() == worker
        assert served.process.wait(20) == 0
        assert not is_alive(worker)


def test_more_than_fits_is_refused() -> None:
    with (
        replica(ASYNC_SCRIPT, workers=1, max_in_flight=1) as served,
        ThreadPoolExecutor() as pool,
        connected(served) as client,
        connected(served) as other,
    ):
        slow = pool.submit(infer, client, 5.0)
        eventually(lambda: b"modelyard_requests_in_flight 1" in served.get("/metrics").body)
        with pytest.raises(InferenceServerException) as caught:
            infer(other)
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        assert other.is_server_live()
        slow.result()


def test_keys() -> None:
    keys = [{"id": KEY.id, "hash": KEY.hash}]
    with replica(keys=keys) as served, connected(served) as client:
        assert client.is_server_live()
        with pytest.raises(InferenceServerException) as caught:
            infer(client)
        assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
        infer(client, headers={"authorization": f"Bearer {KEY.text}"})


def certificate(authority: trustme.CA, folder: Path, host: str) -> dict[str, str]:
    issued = authority.issue_cert(host)
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}


def live(served: Replica, host: str, authority: trustme.CA, client: Any = None) -> bool:
    pair = (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()) if client else ()
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), *pair)
    options = [("grpc.ssl_target_name_override", host), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(served.grpc, trusted, options) as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        try:
            return bool(ask(b"", timeout=5, wait_for_ready=False))
        except grpc.RpcError:
            return False


def test_tls_with_a_certificate_that_is_renewed(tmp_path: Path) -> None:
    authority = trustme.CA()
    files = certificate(authority, tmp_path, "one.test")
    with replica(workers=1, tls=files) as served:
        assert live(served, "one.test", authority)
        assert not live(served, "two.test", authority)
        assert not live(served, "one.test", trustme.CA())
        certificate(authority, tmp_path, "two.test")
        eventually(lambda: live(served, "two.test", authority))
        with connected(served) as client, pytest.raises(InferenceServerException):
            client.is_server_live()


def test_tls_that_wants_the_client_s_certificate(tmp_path: Path) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    files = certificate(authority, tmp_path, "one.test")
    with replica(workers=1, tls={**files, "client_ca": str(tmp_path / "clients.pem")}) as served:
        assert live(served, "one.test", authority, clients.issue_cert("me@clients.test"))
        assert not live(served, "one.test", authority, authority.issue_cert("me@clients.test"))
        assert not live(served, "one.test", authority)


def test_an_image_without_the_packages_says_so() -> None:
    hidden = "import sys\nsys.modules['grpc'] = None\n" + SCRIPT
    with replica(hidden, ready=False) as served:
        status = served.wait_for(lambda status: status.get("phase") == "failed")
        assert "grpc" in status["cause"]["message"]


@pytest.mark.parametrize("wrong", ["listening", "alone", "unix"])
def test_a_socket_that_workers_cannot_share_is_refused(wrong: str) -> None:
    running = Replica(SCRIPT)
    running.inherited.append(held := holder() if wrong == "listening" else socket.socket())
    if wrong == "listening":
        held.listen()
    running.config["grpc_fd"] = (running.listener if wrong == "unix" else held).fileno()
    running.start()
    try:
        assert running.process.wait(20) == 2
        assert "SO_REUSEPORT" in running.log.read_text()
    finally:
        running.stop()
