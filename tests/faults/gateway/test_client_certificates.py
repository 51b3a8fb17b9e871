"""Callers with certificates that are no good, at a gateway of which one service wants good ones."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.integration.gateway.callers import Caller, Callers, dns, uri
from tests.integration.gateway.certificates import Files
from tests.integration.gateway.kit import BEARER, Client, Replica, Stage, route
from tests.integration.gateway.process import GatewayProcess

pytestmark = pytest.mark.anyio

BILLING = "spiffe://example.org/billing"
CLOSED, WITH_KEYS = "/services/closed/score", "/services/digits/score"


class Door:
    """The gateway: `closed` is for callers with certificates, `digits` for those with keys."""

    def __init__(self, folder: Path, process: GatewayProcess, replica: Replica) -> None:
        self.files, self.callers = Files(folder), Callers(folder)
        self.process, self.replica = process, replica
        closed = replace(
            route(replica),
            name="closed",
            auth="cert",
            keys=(),
            clients=(f"uri:{BILLING}", "dns:*.example.org", "dns:billing.example.com"),
        )
        process.configure(
            closed, route(replica), certificate=self.files.certificate, clients=self.callers.files
        )
        host, port = process.url().removeprefix("https://").rsplit(":", 1)
        self._address = host, int(port)
        self._clients: list[Client] = []

    def client(self, caller: Caller | None = None) -> Client:
        context = self.files.trusting()
        self._clients.append(Client(self._address, caller.show_in(context) if caller else context))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()

    async def status(self, caller: Caller | None, path: str = CLOSED) -> int:
        """Of one request, on a connection of its own; 0 when there is no connection to be had."""
        client = self.client(caller)
        try:
            return (await client.request(path, b"x")).status
        except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
            return 0  # with TLS 1.3 a client learns that it was refused when it reads
        finally:
            client.close()


@pytest.fixture
def process(stage: Stage) -> Iterator[GatewayProcess]:
    with GatewayProcess(stage.folder) as process:
        yield process


@pytest.fixture
async def door(stage: Stage, process: GatewayProcess) -> AsyncIterator[Door]:
    door = Door(stage.folder, process, await stage.replica("a"))
    yield door
    door.close()


async def refusal_of(client: Client) -> str:
    """What an open connection is answered, once its caller is let in no more."""
    while True:
        answer = await client.request(CLOSED, b"x")
        if answer.status != 200:
            assert answer.status == 403
            return str(answer.json()["message"])
        await asyncio.sleep(0.02)


async def test_who_is_let_in_and_who_is_not(door: Door, tmp_path: Path) -> None:
    issue, stranger = door.callers.caller, Callers(tmp_path, "somebody else")
    namesake = Callers(tmp_path)  # of the same name, with another key
    good = [
        issue(uri(BILLING)),
        issue(*dns("billing.example.com")),
        issue(*dns("other.example", "ops.example.org")),
    ]
    assert [await door.status(caller) for caller in good] == [200] * 3
    unnamed = {
        "none at all": None,
        "another name": issue(uri(BILLING + "2")),
        "a right name as the common name alone": issue(common_name="billing.example.com"),
        "the same beside another name": issue(
            *dns("other.example"), common_name="billing.example.com"
        ),
        "a wild card": issue(*dns("*.example.org")),
        "a right name of another kind": issue(uri("billing.example.com")),
        "a longer name": issue(*dns("a.b.example.org")),
    }
    assert {why: await door.status(one) for why, one in unnamed.items()} == dict.fromkeys(
        unnamed, 403
    )
    untrusted = {
        "of another authority": stranger.caller(uri(BILLING)),
        "of another authority of the same name": namesake.caller(uri(BILLING)),
        "over": issue(uri(BILLING), ends=timedelta(seconds=-1)),
        "for servers": issue(uri(BILLING), usage=ExtendedKeyUsageOID.SERVER_AUTH),
    }
    assert {why: await door.status(one) for why, one in untrusted.items()} == dict.fromkeys(
        untrusted, 0
    )
    assert await door.status(None, "/services/closed/metrics") == 403
    assert len(door.replica.requests) == len(good)  # nobody else has reached it
    assert await door.status(None, WITH_KEYS) == 200  # on the same port
    assert await door.status(unnamed["another name"], WITH_KEYS) == 200


async def test_the_refusal_says_what_is_missing(door: Door) -> None:
    answer = await door.client().request(CLOSED, b"x", headers=BEARER)  # a key is no certificate
    assert answer.json()["code"] == "certificate_refused"
    assert "none was shown" in answer.json()["message"]
    other = door.client(door.callers.caller(uri(BILLING + "2")))
    assert f"not uri:{BILLING}2" in (await other.request(CLOSED, b"x")).json()["message"]


async def test_revoked_while_it_is_used(door: Door) -> None:
    one, two = (door.callers.caller(uri(BILLING)) for _ in range(2))
    first, second = door.client(one), door.client(two)
    statuses: list[int] = []

    async def use(client: Client) -> None:
        while True:
            statuses.append((await client.request(CLOSED, b"x")).status)
            await asyncio.sleep(0)

    using = asyncio.ensure_future(use(second))
    assert (await first.request(CLOSED, b"x")).status == 200
    door.callers.revoke(one)
    assert "has been revoked" in await refusal_of(first)
    while await door.status(one) != 403:  # nor at another process, which looks a little later
        await asyncio.sleep(0.02)
    assert await door.status(two) == 200
    using.cancel()
    assert set(statuses) == {200}


async def test_an_authority_that_is_trusted_no_more(door: Door, tmp_path: Path) -> None:
    client = door.client(door.callers.caller(uri(BILLING)))
    assert (await client.request(CLOSED, b"x")).status == 200
    successor = Callers(tmp_path, "its successor")
    door.callers.trust(door.callers, successor)
    assert (await client.request(CLOSED, b"x")).status == 200
    door.callers.trust(successor)
    assert "its issuer is not among" in await refusal_of(client)


async def test_lists_that_are_no_good(door: Door, tmp_path: Path) -> None:
    """A damaged list, or one of somebody else, changes nothing; one that is over ends trust."""
    caller, revoked = door.callers.caller(uri(BILLING)), door.callers.caller(uri(BILLING))
    door.callers.revoke(revoked)
    client = door.client(revoked)
    await refusal_of(client)
    door.callers.break_list()
    door.process.wait_for(lambda status: "does not hold" in status.clients_error)
    door.callers.revoke(by=Callers(tmp_path))
    door.process.wait_for(lambda status: "has not signed" in status.clients_error)
    assert [await door.status(one) for one in (caller, revoked)] == [200, 403]
    door.callers.revoke(ends=timedelta(seconds=-1))
    door.process.wait_for(lambda status: not status.clients_error)
    assert [await door.status(one) for one in (caller, revoked)] == [403, 403]
    door.callers.revoke()
    while await door.status(caller) != 200:
        await asyncio.sleep(0.02)
