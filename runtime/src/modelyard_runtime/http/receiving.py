"""Receives long bodies where they stay, for a connection that lets this stand in for it."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Owner(Protocol):
    """The connection whose client sends a long body."""

    def room(self) -> memoryview:
        """Where the next bytes go."""

    def filled(self, count: int) -> None:
        """So many bytes are there."""

    def eof_received(self) -> bool | None:
        """As `asyncio.Protocol`."""

    def connection_lost(self, exc: Exception | None) -> None:
        """As `asyncio.Protocol`."""

    def pause_writing(self) -> None:
        """As `asyncio.Protocol`."""

    def resume_writing(self) -> None:
        """As `asyncio.Protocol`."""


class BodyReceiver(asyncio.BufferedProtocol):
    """What a transport tells while the rest of a long body comes; all but the bytes as ever."""

    __slots__ = ("_filled", "_owner", "_room")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._room = owner.room
        self._filled = owner.filled

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._room()

    def buffer_updated(self, nbytes: int) -> None:
        """They are there."""
        self._filled(nbytes)

    def eof_received(self) -> bool | None:
        """The client has ended its side."""
        return self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client is slow to take its answers."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._owner.resume_writing()


def receive_by(transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
    """Have another protocol told from now on what comes: how is chosen as reading begins."""
    transport.pause_reading()
    transport.set_protocol(protocol)
    transport.resume_reading()
