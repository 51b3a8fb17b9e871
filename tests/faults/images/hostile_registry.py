"""A registry that does what it is told to, byte by byte, on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Script = Callable[[str, socket.socket], None]
"""Is given the head of a request and the connection, which is closed afterwards."""


@contextlib.contextmanager
def hostile_registry(script: Script) -> Iterator[str]:
    """Its host, as images name it; every connection gets one answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=_serve, args=(listener, script), daemon=True)
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(10)


def _serve(listener: socket.socket, script: Script) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client, contextlib.suppress(OSError):
            client.settimeout(10)
            head = b""
            while b"\r\n\r\n" not in head and (data := client.recv(65536)):
                head += data
            script(head.decode("latin-1"), client)


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; header names have `_` for `-`, and `content_length` may lie."""
    fields = {"content_length": str(len(body)), **headers, "connection": "close"}
    lines = [f"{name.replace('_', '-')}: {text}" for name, text in fields.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body
