"""Asks a replica, or the original, and shows answers the way they are kept."""

from __future__ import annotations

import base64
import http.client
import socket
from typing import Any

from tests.contracts.scoring.cases import Case

PATIENCE = 60.0
"""Seconds after which an answer will not come any more."""

_HOST = {"host": "service.example"}
_FRAMING = {"date", "server", "connection", "content-length", "transfer-encoding"}


class Connection(http.client.HTTPConnection):
    """To a TCP port of this machine, or to the path of a Unix socket."""

    def __init__(self, address: int | str) -> None:
        super().__init__("127.0.0.1", timeout=PATIENCE)
        self._address = address

    def connect(self) -> None:
        if isinstance(self._address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(PATIENCE)
            self.sock.connect(self._address)
        else:
            self.sock = socket.create_connection(("127.0.0.1", self._address), PATIENCE)


def ask(address: int | str, case: Case) -> dict[str, Any]:
    """Send a request; the answer has a status, header fields, and a body as text or base64."""
    connection = Connection(address)
    connection.request(case.method, case.path, case.body or None, {**_HOST, **case.headers})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    fields = sorted([name.lower(), value] for name, value in response.getheaders())
    return {
        "status": response.status,
        "headers": [field for field in fields if field[0] not in _FRAMING],
        **_text(body),
    }


def _text(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}
