"""Several processes of one gateway: what holds for all of them together."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import psutil
import pytest
from tests.integration.gateway.kit import Client, Held, Stage, route, until
from tests.integration.gateway.process import GatewayProcess, lives

from modelyard.agent.gateway import files
from modelyard.agent.gateway.loads import read_loads

pytestmark = pytest.mark.anyio

PATH = "/services/digits/score"


@pytest.fixture(scope="module")
def lasting() -> Iterator[GatewayProcess]:
    """One for all tests that leave it as it was."""
    stage = Stage()
    with GatewayProcess(stage.folder) as process:
        process.wait_for(lambda status: len(status.processes) == 2)
        yield process
    shutil.rmtree(stage.folder)


@pytest.fixture
def gateway(request: pytest.FixtureRequest) -> Iterator[GatewayProcess]:
    if request.cls is None:
        yield request.getfixturevalue("lasting")
        return
    stage: Stage = request.getfixturevalue("stage")
    with GatewayProcess(stage.folder) as process:
        process.wait_for(lambda status: len(status.processes) == 2)
        yield process


Spread = Callable[[], Awaitable[dict[int, list[Client]]]]


@pytest.fixture
async def spread(gateway: GatewayProcess) -> AsyncIterator[Spread]:
    """Connects clients, and tells by process which it serves: two of each of the two."""
    clients: list[Client] = []

    async def connect() -> dict[int, list[Client]]:
        port = int(gateway.url().rsplit(":", 1)[1])
        found: dict[int, list[Client]] = {}
        while len(found) < 2 or min(map(len, found.values())) < 2:
            clients.append(gateway.client())
            await clients[-1].request("/livez", method="GET", headers={})
            found.setdefault(_who_serves(gateway, port, clients[-1].port), []).append(clients[-1])
        return {pid: some[:2] for pid, some in found.items()}

    yield connect
    for client in clients:
        client.close()


def _who_serves(gateway: GatewayProcess, port: int, client: int) -> int:
    for pid in gateway.wait_for(lambda status: bool(status.processes)).processes:
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.raddr and (connection.laddr.port, connection.raddr.port) == (
                port,
                client,
            ):
                return pid
    raise AssertionError("nobody serves the client")


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def test_connections_are_spread(gateway: GatewayProcess, spread: Spread) -> None:
    assert set(await spread()) == set(gateway.wait_for(lambda status: True).processes)


async def test_a_replica_gets_no_more_than_its_limit_from_all(
    stage: Stage, gateway: GatewayProcess, spread: Spread
) -> None:
    replica = await stage.replica("a")
    gateway.configure(route(replica, max_concurrent_requests=1))
    clients = [client for some in (await spread()).values() for client in some]

    async def score(client: Client) -> list[int]:
        return [(await client.request(PATH, b"x")).status for _ in range(50)]

    answers = await asyncio.gather(*map(score, clients))
    assert [set(statuses) for statuses in answers] == [{200}] * 4
    assert replica.most_running == 1


async def test_a_place_that_one_frees_goes_to_who_waits_at_another(
    stage: Stage, gateway: GatewayProcess, spread: Spread
) -> None:
    held = Held()
    gateway.configure(route(await stage.replica("a", held), max_concurrent_requests=1))
    (one, _), (other, _) = (await spread()).values()
    first = asyncio.ensure_future(one.request(PATH, b"1"))
    await held.until(1)
    second = asyncio.ensure_future(other.request(PATH, b"2"))
    await asyncio.sleep(0.1)
    assert not second.done()
    held.release()
    assert (await first).body == b"1"
    await held.until(1)
    held.release()
    assert (await second).body == b"2"


async def test_the_queue_is_bounded_over_all(
    stage: Stage, gateway: GatewayProcess, spread: Spread
) -> None:
    held = Held()
    limits = {"max_concurrent_requests": 1, "max_queued_requests": 1, "elastic": True}
    gateway.configure(route(await stage.replica("a", held), **limits))
    (one, two), (other, _) = (await spread()).values()
    running = asyncio.ensure_future(one.request(PATH, b"1"))
    await held.until(1)
    waiting = asyncio.ensure_future(two.request(PATH, b"2"))
    await until(lambda: read_loads(gateway.folder / files.LOADS) == {"digits": 2})
    assert (await other.request(PATH, b"3")).json()["code"] == "overloaded"
    held.release()
    await running
    await held.until(1)
    held.release()
    assert (await waiting).status == 200


async def test_refused_keys_are_counted_over_all(
    stage: Stage, gateway: GatewayProcess, spread: Spread
) -> None:
    gateway.configure(route(await stage.replica("a")))
    for clients in (await spread()).values():
        for client in clients:
            assert (await client.request(PATH, b"x", headers={})).status == 401
    gateway.wait_for(lambda s: "digits" in s.refused and s.refused["digits"].count == 4)


class TestKilled:
    async def test_a_killed_one_costs_its_own_connections_and_is_replaced(
        self, stage: Stage, gateway: GatewayProcess, spread: Spread
    ) -> None:
        replica = await stage.replica("a")
        gateway.configure(route(replica))
        (killed, lost), (_, kept) = (await spread()).items()
        os.kill(killed, signal.SIGKILL)
        for client in lost:
            with pytest.raises((OSError, EOFError)):
                await client.request(PATH, b"x")
        for client in kept:
            assert (await client.request(PATH, b"x")).body == b"x"
        status = gateway.wait_for(lambda s: len(s.processes) == 2 and killed not in s.processes)
        assert status.config_version == 1
        for client in lost:
            assert (await client.request(PATH, b"y")).status == 200
        assert "SIGKILL" in gateway.log

    async def test_the_places_of_a_killed_one_are_free_again(
        self, stage: Stage, gateway: GatewayProcess, spread: Spread
    ) -> None:
        held = Held()
        gateway.configure(route(await stage.replica("a", held), max_concurrent_requests=1))
        (killed, (one, _)), (_, (other, _)) = (await spread()).items()
        running = asyncio.ensure_future(one.request(PATH, b"1"))
        await held.until(1)
        waiting = asyncio.ensure_future(other.request(PATH, b"2"))
        await asyncio.sleep(0.1)
        os.kill(killed, signal.SIGKILL)
        with pytest.raises((OSError, EOFError)):
            await running
        await held.until(2)
        held.release()
        assert (await waiting).status == 200

    async def test_who_replaces_a_killed_one_needs_no_file(
        self, stage: Stage, gateway: GatewayProcess, spread: Spread
    ) -> None:
        gateway.configure(route(await stage.replica("a")))
        (gateway.folder / "config.json").unlink()
        for pid in gateway.wait_for(lambda status: len(status.processes) == 2).processes:
            os.kill(pid, signal.SIGKILL)
            gateway.wait_for(lambda s, pid=pid: len(s.processes) == 2 and pid not in s.processes)
        client = gateway.client()
        assert (await client.request(PATH, b"x")).body == b"x"
        assert (await client.request(PATH, b"x", headers={})).status == 401
        client.close()

    async def test_one_that_dies_again_and_again_is_given_time(
        self, gateway: GatewayProcess
    ) -> None:
        for _ in range(4):
            [pid, *_] = gateway.wait_for(lambda status: bool(status.processes)).processes
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            gateway.wait_for(lambda status, pid=pid: pid not in status.processes)
        gateway.wait_for(lambda status: len(status.processes) == 2)


class TestReplaced:
    async def test_what_a_killed_one_without_a_parent_had_is_free_again(
        self, stage: Stage, gateway: GatewayProcess, spread: Spread
    ) -> None:
        held = Held()
        limit = {"max_concurrent_requests": 1}
        gateway.configure(route(await stage.replica("a", held), **limit))
        (killed, (one, _)), _ = (await spread()).items()
        running = asyncio.ensure_future(one.request(PATH, b"1"))
        await held.until(1)
        gateway.process.kill()
        os.kill(killed, signal.SIGKILL)
        with pytest.raises((OSError, EOFError)):
            await running
        gateway.process.wait()
        await asyncio.to_thread(gateway.start)
        await asyncio.to_thread(gateway.configure, route(await stage.replica("b"), **limit))
        assert gateway.wait_for(lambda status: True).draining == {}
        client = gateway.client()
        assert (await client.request(PATH, b"2")).body == b"2"
        client.close()
        held.release()

    async def test_a_kept_connection_is_told_with_its_next_answer(
        self, stage: Stage, gateway: GatewayProcess
    ) -> None:
        gateway.configure(route(await stage.replica("a")))
        client = gateway.client()
        assert "connection" not in (await client.request(PATH, b"x")).headers
        await asyncio.to_thread(gateway.replace)
        assert (await client.request(PATH, b"x")).headers["connection"] == "close"
        assert "connection" not in (await client.request(PATH, b"x")).headers
        client.close()

    async def test_the_one_before_stays_ready_and_answers_what_it_has(
        self, stage: Stage, gateway: GatewayProcess
    ) -> None:
        held = Held()
        gateway.configure(route(await stage.replica("a", held), max_concurrent_requests=1))
        busy, idle = gateway.client(), gateway.client()
        running = asyncio.ensure_future(busy.request(PATH, b"1"))
        await held.until(1)
        assert (await idle.request("/readyz", method="GET")).status == 200
        await asyncio.to_thread(gateway.replace)
        assert (await idle.request("/readyz", method="GET")).status == 200
        waiting = asyncio.ensure_future(idle.request(PATH, b"2"))  # at the new one by now
        await asyncio.sleep(0.1)
        assert len(held.waiting) == 1  # the limit holds for both
        held.release()
        assert (await running).body == b"1"
        await held.until(1)
        held.release()
        assert (await waiting).body == b"2"
        busy.close()
        idle.close()

    async def test_the_new_one_tells_what_drains_at_the_one_before(
        self, stage: Stage, gateway: GatewayProcess
    ) -> None:
        held = Held()
        gateway.configure(route(await stage.replica("a", held)))
        client = gateway.client()
        running = asyncio.ensure_future(client.request(PATH, b"1"))
        await held.until(1)
        await asyncio.to_thread(gateway.replace)
        gateway.configure(route(await stage.replica("b")))
        assert gateway.wait_for(lambda status: bool(status.draining)).draining == {"a": 1}
        held.release()
        await running
        gateway.wait_for(lambda status: not status.draining)
        client.close()

    async def test_it_takes_another_address_when_that_is_free(
        self, stage: Stage, gateway: GatewayProcess
    ) -> None:
        before = gateway.url()
        with socket.create_server(("127.0.0.1", 0)) as other:
            gateway.port = other.getsockname()[1]
            assert await asyncio.to_thread(gateway.refuse) == 1
            assert "in use by another program" in gateway.log
            assert gateway.url() == before
        await asyncio.to_thread(gateway.replace)
        assert gateway.url() == f"http://127.0.0.1:{gateway.port}"
        while _listens(int(before.rsplit(":", 1)[1])):
            await asyncio.sleep(0.01)

    async def test_its_end_ends_it_soon(self, stage: Stage, gateway: GatewayProcess) -> None:
        """Though it would wait for 30 s for this client to ask once more."""
        client = gateway.client()
        await client.request("/livez", method="GET", headers={})
        [*old] = gateway.wait_for(lambda status: True).processes
        await asyncio.to_thread(gateway.replace)
        for pid in old:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        while any(map(lives, old)):
            await asyncio.sleep(0.01)
        client.close()
