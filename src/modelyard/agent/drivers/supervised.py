"""Talks to one replica's supervisor over its control socket."""

from __future__ import annotations

import json
import socket
from typing import Any

_PATIENCE = 1.0  # seconds; a supervisor answers within a millisecond unless the host is in trouble
_LONGEST_ANSWER = 1 << 20


class NoAnswer(Exception):
    """Nobody answers on the control socket now."""


class TooSlow(NoAnswer):
    """Somebody is there and does not answer in time."""


def ask(control: str, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request to a supervisor and return its answer.

    Raises:
        NoAnswer: There is no supervisor.
        TooSlow: There is one, which does not answer within a second.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(control)
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(connection))
    except TimeoutError as error:
        raise TooSlow(str(error)) from error
    except (OSError, ValueError) as error:
        raise NoAnswer(str(error)) from error
    if not isinstance(answer, dict) or "error" in answer:
        raise NoAnswer(f"the supervisor refused: {answer}")
    return answer


def _line(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        chunk = connection.recv(64 << 10)
        if not chunk or len(received) > _LONGEST_ANSWER:
            raise ValueError("the answer is not one line")
        received += chunk
    return received
