"""A control plane as an agent sees it: the four requests of its protocol, and switches to fail."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from modelyard.domain.desired import DesiredState
from modelyard.domain.observed import ObservedState
from modelyard.schemas import LogSegment

TOKEN = "agent-token"


class FakeServer:
    """Serves on a free port of the loopback address until closed."""

    def __init__(self, port: int = 0) -> None:
        self.desired = DesiredState(agent="local", fence=1, generation=0)
        self.observed: list[ObservedState] = []
        self.blobs: dict[str, bytes] = {}
        self.ranges: list[str] = []
        self.cut_blobs_at: int | None = None
        """Close the connection after so many bytes of a blob."""
        self.lose_log_answers = 0
        """Store so many pieces and then break the connection instead of answering."""
        self.logs: dict[str, dict[tuple[int, int], str]] = {}
        self._condition = threading.Condition()
        self._closed = False
        self._http = _Http(("127.0.0.1", port), self._handler())
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def want(self, desired: DesiredState) -> None:
        with self._condition:
            self.desired = desired
            self._condition.notify_all()

    def log_text(self, replica: str) -> str:
        pieces = self.logs.get(replica, {})
        return "".join(pieces[key] for key in sorted(pieces))

    def close(self) -> None:
        """Be gone, as a killed server is: open connections break."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._http.shutdown()
        self._http.break_connections()
        self._http.server_close()
        self._thread.join()

    def _tag(self) -> str:
        return f'"{self.desired.fence}.{self.desired.generation}"'

    def _wait_for_news(self, tag: str | None, wait: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._closed or self._tag() != tag, wait)

    def _take_log(self, segment: LogSegment) -> int:
        pieces = self.logs.setdefault(segment.replica, {})
        expected = sum(epoch == segment.epoch for epoch, _ in pieces)
        if segment.sequence == expected:
            pieces[segment.epoch, segment.sequence] = segment.text
            expected += 1
        return expected

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has `self`
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(
                self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
            ) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(ConnectionError):  # the agent may be gone meanwhile
                    self.end_headers()
                    self.wfile.write(body)

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers["Content-Length"]))

            def _authorised(self) -> bool:
                if self.headers["Authorization"] == f"Bearer {TOKEN}":
                    return True
                self._answer(401, b'{"code": "unauthenticated", "message": "no"}')
                return False

            def do_GET(self) -> None:
                if not self._authorised():
                    return
                url = urlsplit(self.path)
                if url.path == "/api/v1/agents/local/desired":
                    self._desired(float(parse_qs(url.query)["wait"][0]))
                else:
                    self._blob(url.path.removeprefix("/api/v1/blobs/"))

            def _desired(self, wait: float) -> None:
                if server._wait_for_news(self.headers["If-None-Match"], wait):
                    body = server.desired.model_dump_json().encode()
                    self._answer(200, body, {"ETag": server._tag()})
                else:
                    self._answer(304)

            def _blob(self, digest: str) -> None:
                if digest not in server.blobs:
                    self._answer(404, b'{"code": "not_found", "message": "no such blob"}')
                    return
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                server.ranges.append(self.headers["Range"])
                data = server.blobs[digest][start:]
                self.send_response(206)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if server.cut_blobs_at is not None:
                    data = data[: server.cut_blobs_at]
                    self.close_connection = True
                self.wfile.write(data)

            def do_PUT(self) -> None:
                if self._authorised():
                    server.observed.append(ObservedState.model_validate_json(self._body()))
                    self._answer(204)

            def do_POST(self) -> None:
                if not self._authorised():
                    return
                following = server._take_log(LogSegment.model_validate_json(self._body()))
                if server.lose_log_answers:
                    server.lose_log_answers -= 1
                    self.close_connection = True
                    return
                self._answer(200, json.dumps({"next": following}).encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # an agent that was killed
            super().handle_error(request, client_address)


def wait_for(condition: Callable[[], object], timeout: float = 30.0) -> Any:
    """The condition's first true value; fails when there is none in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"still not: {condition}")
