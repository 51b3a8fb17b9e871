"""Raw HTTP over Unix sockets: what is sent and received byte by byte."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any

PATIENCE = 20.0
"""Seconds after which an answer will not come any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json()["message"])


class Wire:
    """One connection of a client that does nothing by itself."""

    def __init__(self, path: str, tls: ssl.SSLContext | None = None, name: str = "here") -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(path)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname=name)
        self._received = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end(self) -> None:
        """Half-close: nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer, by its length."""
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = 0 if to_head else int(headers.get("content-length", "0"))
        while len(self._received) < length:
            self._more()
        body, self._received = self._received[:length], self._received[length:]
        return Answer(int(first.split(" ")[1]), headers, body)

    def chunk(self) -> bytes:
        """The next chunk of a body; the last one is empty."""
        while b"\r\n" not in self._received:
            self._more()
        size, _, self._received = self._received.partition(b"\r\n")
        length = int(size, 16)
        while len(self._received) < length + 2:
            self._more()
        data, self._received = self._received[:length], self._received[length + 2 :]
        return data

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        try:
            while data := self._socket.recv(1 << 16):
                self._received += data
        except ConnectionResetError:
            pass
        return self._received

    def _more(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError(f"closed after {self._received!r}")
        self._received += data


def request(
    method: str = "GET",
    path: str = "/",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    close: bool = False,
) -> bytes:
    """The bytes of a well-formed request."""
    lines = [f"{method} {path} HTTP/1.1", "host: here"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines.append(f"content-length: {len(body)}")
    if close:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask(path: str, data: bytes) -> Answer:
    """Send something on a connection of its own; the first answer."""
    with Wire(path) as wire:
        wire.send(data)
        return wire.answer()
