"""A gateway whose surroundings go away."""

from __future__ import annotations

import shutil

import pytest
from tests.integration.gateway.kit import Stage, route
from tests.integration.gateway.process import GatewayProcess

pytestmark = pytest.mark.anyio


async def test_it_serves_on_when_its_folder_is_gone(stage: Stage) -> None:
    replica = await stage.replica("a")
    folder = stage.folder / "gateway"
    folder.mkdir()
    with GatewayProcess(folder) as gateway:
        gateway.configure(route(replica))
        client = gateway.client()
        gateway.wait_for(lambda status: len(status.processes) == 2)
        shutil.rmtree(folder)
        assert (await client.request("/services/digits/score", b"x")).body == b"x"
        assert (await client.request("/services/digits/score", headers={})).status == 401
        assert (await client.request("/services/digits/score", b"y")).body == b"y"
        client.close()
        assert gateway.process.poll() is None


async def test_after_kill_9_the_next_one_serves_the_same(stage: Stage) -> None:
    replica = await stage.replica("a")
    with GatewayProcess(stage.folder) as gateway:
        gateway.configure(route(replica))
        url = gateway.url()
        for _ in range(3):
            gateway.kill()
            gateway.start()
            assert gateway.url() == url
            client = gateway.client()
            assert (await client.request("/services/digits/score", b"x")).body == b"x"
            client.close()
