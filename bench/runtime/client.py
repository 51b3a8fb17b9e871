"""Asks servers: once, to check the answer, and for a while, to time them.

Timing is done by `wrk` with one thread where it is installed, else by a small client of our own,
which takes more of the machine for itself.
"""

from __future__ import annotations

import http.client
import json
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PORT_HOST = "127.0.0.1"
PATIENCE = 60
"""Seconds for an answer under load."""
_PATIENCE_ALONE = 10
"""Seconds for an answer to the only request."""

_SCRIPT = """
wrk.method = "POST"
wrk.path = %(path)s
local file = io.open(%(body)s, "rb")
wrk.body = file:read("*a")
file:close()
%(headers)s
%(numbering)s
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""
_NUMBERING = """
local number = 0
function request()
  number = number + 1
  wrk.headers[%s] = string.format("%%d", number)
  return wrk.format()
end
"""
_RESULT = re.compile(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Wire:
    """One request as bytes."""

    path: str
    body: bytes
    headers: dict[str, str]
    numbered: str = ""
    """Name of one header more, which has another value in each request."""


@dataclass(frozen=True)
class Load:
    """What a client saw in one round."""

    requests: int
    seconds: float
    p50: float
    """Seconds."""
    p99: float
    errors: int


def ask(port: int, wire: Wire, patience: float = _PATIENCE_ALONE) -> tuple[int, bytes]:
    """Send a request over a fresh connection. Returns the status and the body."""
    connection = http.client.HTTPConnection(PORT_HOST, port, timeout=patience)
    try:
        connection.request("POST", wire.path, wire.body, wire.headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def load(port: int, wire: Wire, connections: int, seconds: float) -> Load:
    """Keep so many connections busy for so long."""
    if shutil.which("wrk"):
        return _wrk(port, wire, connections, seconds)
    return _Loop(port, wire, connections).run(seconds)


def client_name() -> str:
    """Which client times."""
    return "wrk, 1 thread" if shutil.which("wrk") else "built-in epoll client"


def _wrk(port: int, wire: Wire, connections: int, seconds: float) -> Load:
    with tempfile.TemporaryDirectory(prefix="my-") as name:
        body, script = Path(name) / "body", Path(name) / "post.lua"
        body.write_bytes(wire.body)
        headers = "\n".join(
            f"wrk.headers[{json.dumps(key)}] = {json.dumps(value)}"
            for key, value in wire.headers.items()
        )
        numbering = _NUMBERING % json.dumps(wire.numbered) if wire.numbered else ""
        values = {"path": json.dumps(wire.path), "body": json.dumps(str(body)), "headers": headers}
        values["numbering"] = numbering
        script.write_text(_SCRIPT % values)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += [f"--timeout={PATIENCE}s", f"--script={script}"]
        command += [f"http://{PORT_HOST}:{port}"]
        limit = seconds + PATIENCE
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=limit)
    found = _RESULT.search(done.stdout)
    if found is None:
        raise RuntimeError(f"wrk printed no result: {done.stdout[-300:]}{done.stderr[-300:]}")
    requests, took, p50, p99, errors = (int(group) for group in found.groups())
    return Load(requests, took / 1e6, p50 / 1e6, p99 / 1e6, errors)


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class _Loop:
    """Answers must have a length; one that has none, or a closed connection, is an error."""

    def __init__(self, port: int, wire: Wire, connections: int) -> None:
        self._address = (PORT_HOST, port)
        fields = {"Host": PORT_HOST, "Content-Length": str(len(wire.body)), **wire.headers}
        lines = [f"POST {wire.path} HTTP/1.1", *(f"{key}: {fields[key]}" for key in fields)]
        self._head = "\r\n".join([*lines, ""]).encode()
        self._body = b"\r\n" + wire.body
        self._numbered = wire.numbered
        self._number = 0
        self._poll = select.epoll()
        self._latencies: list[float] = []
        self._errors = 0
        self._open: dict[int, tuple[socket.socket, list[float], bytearray]] = {}
        for _ in range(connections):
            self._connect()

    def run(self, seconds: float) -> Load:
        """Turn until the time is over."""
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            for descriptor, _ in self._poll.poll(0.1):
                self._receive(descriptor)
        took = time.perf_counter() - began
        for connection, _, _ in self._open.values():
            connection.close()
        self._poll.close()
        times = sorted(self._latencies) or [0.0]
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        return Load(len(self._latencies), took, p50, p99, self._errors)

    def _connect(self) -> None:
        connection = socket.create_connection(self._address, timeout=PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[connection.fileno()] = (connection, [0.0], bytearray())
        self._poll.register(connection.fileno(), select.EPOLLIN)
        self._send(connection.fileno())

    def _send(self, descriptor: int) -> None:
        connection, began, answer = self._open[descriptor]
        answer.clear()
        began[0] = time.perf_counter()
        self._number += 1
        number = f"{self._numbered}: {self._number}\r\n".encode() if self._numbered else b""
        connection.sendall(self._head + number + self._body)

    def _receive(self, descriptor: int) -> None:
        connection, began, answer = self._open[descriptor]
        part = connection.recv(1 << 18)
        answer += part
        end = answer.find(b"\r\n\r\n")
        length = _LENGTH.search(answer, 0, end) if end >= 0 else None
        whole = length is not None and len(answer) >= end + 4 + int(length[1])
        if whole:
            self._latencies.append(time.perf_counter() - began[0])
            self._errors += answer[9:12] != b"200"
        elif not part or (end >= 0 and length is None):
            self._errors += 1
        else:
            return
        if part and b"\r\nconnection: close" not in answer[:end].lower():
            self._send(descriptor)
        else:
            self._poll.unregister(descriptor)
            del self._open[descriptor]
            connection.close()
            self._connect()
