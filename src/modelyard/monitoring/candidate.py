"""A replica that is asked what was asked of another one before."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from json import JSONDecoder
from pathlib import Path

from modelyard.domain.difference import NO_ANSWER, Answer

LARGEST_ANSWER = 4 << 20
"""Bytes that are read of an answer; records hold no more than a quarter of that."""
_LENGTH_OF_JSON = "inference-header-content-length"


class Candidate:
    """A replica at a Unix socket; a connection for each thread.

    Args:
        path: The socket.
        patience: Seconds for an answer.
    """

    def __init__(self, path: Path, patience: float) -> None:
        self._path = str(path)
        self._patience = patience
        self._connections: dict[int, http.client.HTTPConnection] = {}

    def score(self, path: str, content_type: str, body: bytes) -> tuple[Answer, float]:
        """Send a request as it came; the answer, and the seconds that it took."""
        began = time.perf_counter()
        try:
            answer = self._ask(path, _fields(path, content_type, body), body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._forget()
            answer = Answer(NO_ANSWER, str(error).encode(errors="replace"))
        return answer, time.perf_counter() - began

    def close(self) -> None:
        """Close every connection; nobody is asking any more."""
        for connection in self._connections.values():
            connection.close()

    def _ask(self, path: str, fields: dict[str, str], body: bytes) -> Answer:
        connection = self._connection()
        connection.request("POST", path, body, fields)
        response = connection.getresponse()
        content = response.read(LARGEST_ANSWER)
        if not response.isclosed():
            self._forget()
        return Answer(response.status, content)

    def _connection(self) -> http.client.HTTPConnection:
        thread = threading.get_ident()
        if thread not in self._connections:
            self._connections[thread] = _Connection(self._path, self._patience)
        return self._connections[thread]

    def _forget(self) -> None:
        known = self._connections.pop(threading.get_ident(), None)
        if known is not None:
            known.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, patience: float) -> None:
        super().__init__("image", timeout=patience)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _fields(path: str, content_type: str, body: bytes) -> dict[str, str]:
    fields = {"content-type": content_type} if content_type.isprintable() and content_type else {}
    if path.endswith("/infer") and (length := _length_of_json(body)) < len(body):
        fields[_LENGTH_OF_JSON] = str(length)  # was told in a header, of which there is no record
    return fields


def _length_of_json(body: bytes) -> int:
    """Bytes of the document that a body begins with; tensors in binary form may follow it."""
    try:
        _, end = JSONDecoder().raw_decode(body.decode("latin-1"))
    except (ValueError, RecursionError):
        return len(body)
    return end if body[end:].strip() else len(body)
