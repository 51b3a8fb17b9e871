"""A gateway as a process: its files, its port, its signals, its configuration."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.integration.gateway.kit import BEARER, KEY, SECOND, Held, Stage, route, until
from tests.integration.gateway.process import GatewayProcess

from modelyard.agent.gateway.config import Key
from modelyard.agent.gateway.status import read_status
from modelyard.domain.cause import Cause

pytestmark = pytest.mark.anyio


@pytest.fixture
def gateway(stage: Stage) -> Iterator[GatewayProcess]:
    with GatewayProcess(stage.folder) as process:
        yield process


async def test_it_serves_and_reports(stage: Stage, gateway: GatewayProcess) -> None:
    replica = await stage.replica("a")
    gateway.configure(route(replica))
    client = gateway.client()
    assert (await client.request("/readyz", method="GET", headers={})).status == 200
    assert (await client.request("/services/digits/score", b"x")).body == b"x"
    client.close()
    status = gateway.wait_for(lambda status: status.url is not None)
    assert (status.pid, status.config_version, status.cause) == (gateway.process.pid, 1, None)
    assert gateway.log == ""


async def test_before_its_first_configuration_it_is_live_and_not_ready(
    gateway: GatewayProcess,
) -> None:
    client = gateway.client()
    assert (await client.request("/livez", method="GET", headers={})).status == 200
    assert (await client.request("/readyz", method="GET", headers={})).status == 503
    assert (await client.request("/services/digits/score", b"x")).status == 404
    client.close()


async def test_it_takes_the_same_free_port_after_a_restart(gateway: GatewayProcess) -> None:
    first = gateway.url()
    assert gateway.terminate() == 0
    assert read_status(gateway.folder / "status.json").url is None  # type: ignore[union-attr]
    gateway.start()
    assert gateway.url() == first


async def test_a_taken_port_is_a_cause_and_is_taken_when_it_is_free(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with GatewayProcess(stage.folder, port) as gateway:
            status = gateway.wait_for(lambda status: status.cause is not None)
            cause = Cause.model_validate(status.cause)
            assert cause.code == "port_taken"
            assert f"port {port} of 127.0.0.1" in cause.message
            assert cause.fix
            assert status.url is None
            other.close()
            assert gateway.url() == f"http://127.0.0.1:{port}"
            assert gateway.wait_for(lambda status: status.cause is None)


async def test_it_ends_while_it_waits_for_its_port(stage: Stage) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        GatewayProcess(stage.folder, other.getsockname()[1]) as gateway,
    ):
        gateway.wait_for(lambda status: status.cause is not None)
        assert gateway.terminate() == 0


async def test_a_second_one_for_the_same_folder_gives_up(gateway: GatewayProcess) -> None:
    gateway.url()
    second = subprocess.run(
        [sys.executable, "-m", "modelyard.agent.gateway", "--dir", str(gateway.folder)],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert second.returncode == 1
    assert "already runs" in json.loads(second.stderr)["message"]
    assert gateway.process.poll() is None


async def test_a_damaged_configuration_changes_nothing_and_is_reported(
    stage: Stage, gateway: GatewayProcess
) -> None:
    replica = await stage.replica("a")
    gateway.configure(route(replica))
    client = gateway.client()
    config = gateway.folder / "config.json"
    config.write_bytes(config.read_bytes()[:-30])
    status = gateway.wait_for(lambda status: status.config_error is not None)
    assert status.config_version == 1
    assert "config.json" in str(status.config_error)
    assert (await client.request("/services/digits/score", b"x")).body == b"x"
    config.unlink()
    assert (await client.request("/services/digits/score", b"x")).body == b"x"
    gateway.configure(route(replica))
    gateway.wait_for(lambda status: status.config_error is None)
    client.close()


async def test_replaced_keys_hold_at_once(stage: Stage, gateway: GatewayProcess) -> None:
    replica = await stage.replica("a")
    gateway.configure(route(replica))
    client = gateway.client()
    second = {"authorization": f"Bearer {SECOND.text}"}
    assert (await client.request("/services/digits/score", b"x")).status == 200
    gateway.configure(route(replica, keys=(Key(SECOND.id, "secondary", SECOND.hash),)))
    assert (await client.request("/services/digits/score", b"x")).status == 401
    assert (await client.request("/services/digits/score", b"x", headers=second)).status == 200
    client.close()
    status = gateway.wait_for(lambda status: bool(status.refused))
    assert (status.refused["digits"].count, status.refused["digits"].key_id) == (1, KEY.id)


async def test_a_signal_makes_it_look_at_once(stage: Stage, gateway: GatewayProcess) -> None:
    gateway.url()
    for _ in range(20):
        gateway.process.send_signal(signal.SIGHUP)
    gateway.configure(route(await stage.replica("a")))
    assert gateway.process.poll() is None


async def nobody_new_is_let_in(gateway: GatewayProcess) -> None:
    """Wait until connecting is refused."""
    while True:
        client = gateway.client()
        try:
            await client.request("/livez", method="GET", headers={})
        except OSError:
            return
        client.close()
        await asyncio.sleep(0.01)


async def test_its_end_waits_for_what_is_in_flight(stage: Stage, gateway: GatewayProcess) -> None:
    held = Held()
    gateway.configure(route(await stage.replica("a", held)))
    client = gateway.client()
    answer = asyncio.ensure_future(client.request("/services/digits/score", b"x"))
    await held.until(1)
    gateway.process.send_signal(signal.SIGTERM)
    await nobody_new_is_let_in(gateway)
    assert gateway.process.poll() is None
    held.release()
    assert (await answer).body == b"x"
    assert (await asyncio.to_thread(gateway.process.wait, 30)) == 0


async def test_on_its_way_out_it_is_not_ready(stage: Stage, gateway: GatewayProcess) -> None:
    held = Held()
    gateway.configure(route(await stage.replica("a", held)))
    host, port = gateway.url().removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = ["POST /services/digits/ HTTP/1.1", "host: h", "content-length: 0"]
    lines += [f"authorization: {BEARER['authorization']}", "", ""]
    writer.write("\r\n".join(lines).encode() + b"GET /readyz HTTP/1.1\r\nhost: h\r\n\r\n")
    await held.until(1)
    gateway.process.send_signal(signal.SIGTERM)
    await nobody_new_is_let_in(gateway)
    held.release()
    answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
    writer.close()
    assert [answer[:3] for answer in answers] == [b"200", b"503"]


async def test_a_second_signal_cuts_its_end_short(stage: Stage, gateway: GatewayProcess) -> None:
    held = Held()
    gateway.configure(route(await stage.replica("a", held), scoring_timeout=600.0))
    client = gateway.client()
    answer = asyncio.ensure_future(client.request("/services/digits/score", b"x"))
    await held.until(1)
    gateway.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    assert gateway.process.poll() is None
    gateway.process.send_signal(signal.SIGTERM)
    assert (await asyncio.to_thread(gateway.process.wait, 30)) == 0
    with pytest.raises((OSError, EOFError)):
        await answer
    held.release()


async def test_replicas_change_under_load_without_a_failed_request(
    stage: Stage, gateway: GatewayProcess
) -> None:
    """Ten updates as the agent does them: the new beside the old, swap, wait, end the old."""
    old = await stage.replica("r0")
    gateway.configure(route(old, max_concurrent_requests=4))
    answers: list[int] = []
    over = asyncio.Event()

    async def score() -> None:
        client = gateway.client()
        while not over.is_set():
            answers.append((await client.request("/services/digits/score", b"x")).status)
        client.close()

    load = [asyncio.ensure_future(score()) for _ in range(8)]
    await until(lambda: len(answers) > 100)
    for number in range(1, 11):
        new = await stage.replica(f"r{number}")
        await asyncio.to_thread(gateway.configure, route(new, max_concurrent_requests=4))
        await asyncio.to_thread(gateway.wait_for, lambda status: not status.draining)
        await old.stop()
        served, old = len(answers), new
        await until(lambda served=served: len(answers) > served + 100)
    over.set()
    await asyncio.gather(*load)
    assert set(answers) == {200}
    assert old.requests


async def test_a_replica_on_its_way_out_is_reported_until_it_is_idle(
    stage: Stage, gateway: GatewayProcess
) -> None:
    held = Held()
    old, new = await stage.replica("old", held), await stage.replica("new")
    gateway.configure(route(old))
    client = gateway.client()
    answer = asyncio.ensure_future(client.request("/services/digits/score", b"x"))
    await held.until(1)
    await asyncio.to_thread(gateway.configure, route(new))
    status = gateway.wait_for(lambda status: bool(status.draining))
    assert status.draining == {"old": 1}
    held.release()
    assert (await answer).status == 200
    assert gateway.wait_for(lambda status: not status.draining)
    client.close()


async def test_its_files_are_nobody_elses(stage: Stage, gateway: GatewayProcess) -> None:
    gateway.configure(route(await stage.replica("a")))
    gateway.url()
    for name in ("config.json", "status.json", "port"):
        assert os.stat(gateway.folder / name).st_mode & 0o077 == 0
    everything = b"".join(file.read_bytes() for file in gateway.folder.iterdir() if file.is_file())
    assert KEY.secret.encode() not in everything
    assert BEARER["authorization"].encode() not in everything
