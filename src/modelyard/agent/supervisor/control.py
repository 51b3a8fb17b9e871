"""The control socket: JSON lines over a Unix socket, one answer a line, to processes of our user.

`{"do": "status"}`, `{"do": "stop", "drain": seconds}`, `{"do": "restart"}`; each is answered with
the state, anything else with `{"error": …}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Callable
from typing import Any

_LONGEST_REQUEST = 64 << 10
_BACKLOG = 16
_PATIENCE = 0.2  # seconds for a caller to take its answer, in which nothing else is done

Handler = Callable[[dict[str, Any]], dict[str, Any]]


def listen(path: str, backlog: int = _BACKLOG) -> socket.socket:
    """A listening Unix socket at `path`, in place of whatever an earlier life left there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(backlog)
    return listener


class ControlSocket:
    """Answers requests inside the supervisor's own event loop."""

    def __init__(self, path: str, selector: selectors.BaseSelector, handler: Handler) -> None:
        self._selector = selector
        self._handler = handler
        self._listener = listen(path)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.settimeout(_PATIENCE)
            client = _Client(connection, self._handler, self._forget)
            self._selector.register(connection, selectors.EVENT_READ, client.read)

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()


class _Client:
    def __init__(
        self,
        connection: socket.socket,
        handler: Handler,
        forget: Callable[[socket.socket], None],
    ) -> None:
        self._connection = connection
        self._handler = handler
        self._forget = forget
        self._received = b""

    def read(self) -> None:
        try:
            chunk = self._connection.recv(_LONGEST_REQUEST)
            self._received += chunk
            *requests, self._received = self._received.split(b"\n")
            for request in requests:
                self._connection.sendall(json.dumps(self._answer(request)).encode() + b"\n")
        except OSError:
            chunk = b""  # gone, or not reading its answers
        if not chunk or len(self._received) > _LONGEST_REQUEST:
            self._forget(self._connection)

    def _answer(self, request: bytes) -> dict[str, Any]:
        try:
            document = json.loads(request)
            if not isinstance(document, dict):
                raise ValueError("not an object")
            return self._handler(document)
        except (ValueError, RecursionError) as error:
            return {"error": f"not a request: {error}"}
