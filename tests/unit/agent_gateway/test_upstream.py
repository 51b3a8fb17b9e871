from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.agent.gateway.board import Seat
from modelyard.agent.gateway.config import Upstream
from modelyard.agent.gateway.counters import counters_in_memory
from modelyard.agent.gateway.relaying import AnswerBody
from modelyard.agent.gateway.upstream import Connection, Exchange, Replica

UPSTREAM = Upstream("/replica.sock", "d1", 100, "r1")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Wire(asyncio.Transport):
    """The gateway's end of a connection, as far as it can be told from inside."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.closing = False

    def write(self, data: bytes) -> None:
        assert not self.closing, "written to a connection that is being closed"
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


class Outcomes:
    """What the owner of a request was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def answered(
        self, exchange: Exchange, status: int, fields: Any, body: bytes, length: int | None
    ) -> None:
        self.told.append((status, body))

    def unreachable(self, exchange: Exchange, reason: str) -> None:
        self.told.append("unreachable")

    def unread(self, exchange: Exchange) -> None:
        self.told.append("unread")

    def lost(self, exchange: Exchange, code: str, reason: str) -> None:
        self.told.append(code)

    def begun(
        self, exchange: Exchange, status: int, fields: bytes, body: AnswerBody, length: int | None
    ) -> None:
        self.told.append((status, length))
        self.body = body

    def moved(self, exchange: Exchange) -> None:
        self.told.append("moved")

    def held(self, exchange: Exchange) -> None:
        self.told.append("held")

    def ended(self, exchange: Exchange) -> None:
        self.told.append("ended")

    def abandoned(self, exchange: Exchange) -> None:
        self.told.append("abandoned")


class Meeting:
    """A replica, the connections that were made to it, and what became of requests."""

    def __init__(self, connect: Callable[[Connection, Wire], None] = lambda *_: None) -> None:
        self.outcomes = Outcomes()
        self.replica = Replica(UPSTREAM, counters_in_memory().of("digits"), Seat.alone().tally("a"))
        self.connections: list[tuple[Connection, Wire]] = []
        self._connect = connect
        asyncio.get_running_loop().create_unix_connection = self._create  # type: ignore[method-assign, assignment]

    async def _create(self, factory: Callable[[], Connection], path: str) -> Any:
        assert path == UPSTREAM.socket
        connection, wire = factory(), Wire()
        connection.connection_made(wire)
        self._connect(connection, wire)
        self.connections.append((connection, wire))
        return wire, connection

    def exchange(self) -> Exchange:
        return Exchange(self.outcomes, b"id", b"head", b"body")

    async def send(self) -> Exchange:
        exchange = self.exchange()
        self.replica.send(exchange)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return exchange


def run(case: Callable[[], Any]) -> None:
    asyncio.run(case())


def test_a_connection_is_used_again() -> None:
    async def case() -> None:
        meeting = Meeting()
        for _ in range(3):
            await meeting.send()
            meeting.connections[0][0].data_received(OK)
        assert meeting.outcomes.told == [(200, b"ok")] * 3
        assert meeting.connections[0][1].written == b"headbody" * 3

    run(case)


def test_one_that_is_being_closed_is_not() -> None:
    async def case() -> None:
        meeting = Meeting()
        await meeting.send()
        connection, wire = meeting.connections[0]
        connection.data_received(OK)
        wire.closing = True
        await meeting.send()
        assert len(meeting.connections) == 2

    run(case)


def test_one_that_has_reached_its_end_is_not() -> None:
    async def case() -> None:
        meeting = Meeting()
        await meeting.send()
        meeting.connections[0][0].data_received(OK)
        meeting.connections[0][0].eof_received()
        await meeting.send()
        assert len(meeting.connections) == 2

    run(case)


def test_a_request_sent_again_goes_over_a_new_connection() -> None:
    async def case() -> None:
        meeting = Meeting()
        await meeting.send()
        meeting.connections[0][0].data_received(OK)
        exchange = meeting.exchange()
        exchange.attempts = 1
        meeting.replica.send(exchange)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(meeting.connections) == 2

    run(case)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (ConnectionResetError(), "unread"),
        (BrokenPipeError(), "unread"),
        (None, "replica_lost"),
        (TimeoutError(), "replica_lost"),
    ],
)
def test_how_a_connection_ends_tells_what_was_read(end: Exception | None, told: str) -> None:
    async def case() -> None:
        meeting = Meeting()
        await meeting.send()
        meeting.connections[0][0].connection_lost(end)
        assert meeting.outcomes.told == [told]

    run(case)


@pytest.mark.parametrize(("unsent", "told"), [(1, "unread"), (0, "replica_lost")])
def test_an_end_with_something_unsent_means_unread(unsent: int, told: str) -> None:
    async def case() -> None:
        meeting = Meeting()
        await meeting.send()
        connection, wire = meeting.connections[0]
        wire.unsent = unsent
        connection.eof_received()
        assert wire.closing == bool(unsent)  # the rest is thrown away, not sent after all
        connection.connection_lost(None)
        assert meeting.outcomes.told == [told]

    run(case)


def test_a_reset_in_the_middle_of_an_answer_is_a_loss() -> None:
    async def case() -> None:
        meeting = Meeting()
        await meeting.send()
        meeting.connections[0][0].data_received(OK[:10])
        meeting.connections[0][0].connection_lost(ConnectionResetError())
        assert meeting.outcomes.told == ["replica_lost"]

    run(case)


def test_a_connection_closed_before_anything_was_sent_means_unread() -> None:
    async def case() -> None:
        def slam(connection: Connection, wire: Wire) -> None:
            connection.eof_received()
            wire.closing = True

        meeting = Meeting(slam)
        await meeting.send()
        meeting.connections[0][0].connection_lost(None)
        assert meeting.outcomes.told == ["unread"]

    run(case)


def test_no_connection_means_unreachable() -> None:
    async def case() -> None:
        def refuse(*_: object) -> None:
            raise ConnectionRefusedError

        meeting = Meeting(refuse)
        await meeting.send()
        assert meeting.outcomes.told == ["unreachable"]

    run(case)


@pytest.mark.parametrize("refused", [False, True])
def test_nothing_is_told_of_a_request_that_is_over(refused: bool) -> None:
    async def case() -> None:
        def connect(*_: object) -> None:
            if refused:
                raise ConnectionRefusedError

        meeting = Meeting(connect)
        exchange = meeting.exchange()
        meeting.replica.send(exchange)
        exchange.over = True
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert meeting.outcomes.told == []
        assert [wire.written for _, wire in meeting.connections] == ([] if refused else [b""])

    run(case)


def test_a_retired_replica_keeps_no_connection() -> None:
    async def case() -> None:
        meeting = Meeting()
        await meeting.send()
        connection, wire = meeting.connections[0]
        connection.data_received(OK)
        meeting.replica.retire()
        assert wire.closing

        await meeting.send()
        meeting.connections[1][0].data_received(OK)
        assert meeting.connections[1][1].closing

    run(case)


def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    async def case() -> None:
        meeting = Meeting()
        await meeting.send()
        connection, wire = meeting.connections[0]
        connection.data_received(OK)
        connection.data_received(OK)
        assert wire.closing
        assert meeting.outcomes.told == [(200, b"ok")]
        await meeting.send()
        assert len(meeting.connections) == 2

    run(case)


def test_an_answer_to_one_that_is_over_is_nobodys() -> None:
    async def case() -> None:
        meeting = Meeting()
        await meeting.send()
        connection, wire = meeting.connections[0]
        connection.close()
        assert wire.closing
        connection.connection_lost(None)
        assert meeting.outcomes.told == []

    run(case)
