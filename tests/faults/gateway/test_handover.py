"""Gateways that are replaced, and processes of them that are killed or hang, under load."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psutil
import pytest
from tests.integration.gateway.kit import Client, Stage, route, until
from tests.integration.gateway.process import GatewayProcess, lives

from modelyard.agent.gateway.status import read_status
from modelyard.domain.cause import Cause

pytestmark = pytest.mark.anyio

PATH = "/services/digits/score"


class Load:
    """Clients that score over kept connections, and count what they get."""

    def __init__(self, gateway: GatewayProcess, count: int = 8) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._over = asyncio.Event()
        self.clients = [gateway.client() for _ in range(count)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.ensure_future(self._run(client)) for client in self.clients]
        try:
            await self.more(50)
            yield
            await self.more(50)
        finally:
            self._over.set()
            await asyncio.gather(*tasks)

    async def more(self, count: int) -> None:
        goal = self.answered + count
        await until(lambda: self.answered >= goal)

    async def _run(self, client: Client) -> None:
        while not self._over.is_set():
            try:
                answer = await client.request(PATH, b"x")
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {answer.body!r}")
                self.answered += 1
            except (OSError, EOFError) as error:
                self.failures.append(repr(error))
            await asyncio.sleep(0.02)
        client.close()


def connections(pid: int) -> int:
    """How many a process has with callers."""
    found = psutil.Process(pid).net_connections("tcp")
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in found)


def takes_charge(gateway: GatewayProcess) -> None:
    """Wait for the one that was started last, and start another one when it has given up."""
    while True:
        status = read_status(gateway.folder / "status.json")
        if status is not None and status.pid == gateway.process.pid:
            return
        if gateway.process.poll() is not None:
            gateway.start("--replace")
        time.sleep(0.01)


@pytest.fixture
def gateway(stage: Stage) -> Iterator[GatewayProcess]:
    with GatewayProcess(stage.folder) as process:
        process.wait_for(lambda status: len(status.processes) == 2)
        yield process


async def test_twenty_restarts_cost_no_request(stage: Stage, gateway: GatewayProcess) -> None:
    gateway.configure(route(await stage.replica("a"), await stage.replica("b")))
    load = Load(gateway)
    async with load.running():
        for _ in range(20):
            await asyncio.to_thread(gateway.replace)
            await load.more(20)
    assert load.failures == []


async def test_a_killed_process_costs_no_more_than_its_connections(
    stage: Stage, gateway: GatewayProcess
) -> None:
    gateway.configure(route(await stage.replica("a")))
    load = Load(gateway)
    async with load.running():
        for _ in range(3):
            before = gateway.wait_for(lambda status: len(status.processes) == 2)
            killed = before.processes[0]
            served = connections(killed)
            failed = len(load.failures)
            os.kill(killed, signal.SIGKILL)
            await asyncio.to_thread(
                gateway.wait_for,
                lambda s, killed=killed: len(s.processes) == 2 and killed not in s.processes,
            )
            await load.more(50)
            assert len(load.failures) - failed <= served


async def test_a_process_that_hangs_is_replaced(stage: Stage) -> None:
    with GatewayProcess(stage.folder, 0, 2, "--patience", "4") as gateway:
        gateway.wait_for(lambda status: len(status.processes) == 2)
        gateway.configure(route(await stage.replica("a")))
        load = Load(gateway)
        async with load.running():
            hung, other = gateway.wait_for(lambda status: len(status.processes) == 2).processes
            served = connections(hung)
            os.kill(hung, signal.SIGSTOP)
            # Served only once the one that hangs is gone: until then it holds back the version.
            await asyncio.to_thread(gateway.configure, route(await stage.replica("b")))
            status = await asyncio.to_thread(
                gateway.wait_for, lambda s: len(s.processes) == 2 and hung not in s.processes
            )
            await load.more(50)
        assert other in status.processes
        assert len(load.failures) <= served
        assert f"process {hung} of the gateway hangs" in gateway.log


async def test_one_that_hangs_while_it_drains_is_ended(stage: Stage) -> None:
    with GatewayProcess(stage.folder, 0, 1, "--patience", "4") as gateway:
        gateway.configure(route(await stage.replica("a")))
        client = gateway.client()
        assert (await client.request(PATH, b"x")).status == 200
        [hung] = gateway.wait_for(lambda status: bool(status.processes)).processes
        os.kill(hung, signal.SIGSTOP)
        await asyncio.to_thread(gateway.replace)
        await asyncio.to_thread(gateway.configure, route(await stage.replica("b")))
        await until(lambda: not lives(hung))
        client.close()


async def test_a_killed_parent_costs_nothing_and_the_next_one_takes_over(
    stage: Stage, gateway: GatewayProcess
) -> None:
    gateway.configure(route(await stage.replica("a")))
    load = Load(gateway)
    async with load.running():
        for _ in range(2):
            orphans = gateway.wait_for(lambda status: len(status.processes) == 2).processes
            gateway.process.kill()
            gateway.process.wait()
            await load.more(20)
            await asyncio.to_thread(gateway.start)
            await asyncio.to_thread(gateway.wait_for, lambda status: len(status.processes) == 2)
            await until(lambda orphans=orphans: not any(map(lives, orphans)))
    assert load.failures == []


async def test_a_parent_killed_at_any_moment_of_a_handover_costs_nothing(
    stage: Stage, gateway: GatewayProcess
) -> None:
    gateway.configure(route(await stage.replica("a")))
    load = Load(gateway)
    chance = random.Random(0)
    async with load.running():
        for number in range(4):
            old = gateway.process
            gateway.start("--replace")
            new = gateway.process
            await asyncio.sleep(chance.uniform(0, 1))  # the moment of the kill is what varies
            killed = old if number % 2 else new
            killed.kill()
            killed.wait()
            await asyncio.to_thread(takes_charge, gateway)
            await load.more(20)
    assert load.failures == []


async def test_one_that_cannot_read_the_configuration_does_not_take_over(
    stage: Stage, gateway: GatewayProcess
) -> None:
    gateway.configure(route(await stage.replica("a")))
    config = gateway.folder / "config.json"
    whole, serving = config.read_bytes(), gateway.process
    load = Load(gateway)
    async with load.running():
        for document in (whole[:-30], None):
            config.unlink() if document is None else config.write_bytes(document)
            assert await asyncio.to_thread(gateway.refuse) == 1
        assert "serves on" in gateway.log
        refusal = gateway.folder / "refusal.json"
        assert "serves on" in Cause.model_validate_json(refusal.read_bytes()).message
        assert serving.poll() is None
        config.write_bytes(whole)
        await asyncio.to_thread(gateway.replace)
        assert not refusal.exists()
    assert load.failures == []
