"""What messages of alerts arrive at in tests: a receiver of webhooks, and a mail server."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

PATIENCE = 60.0


class Posted(NamedTuple):
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Hooks:
    """A receiver of webhooks, and what it got."""

    port: int
    statuses: list[int] = field(default_factory=list)
    """Answers to give, one after the other; then 200."""
    got: list[Posted] = field(default_factory=list)
    on_request: Callable[[Posted], None] = lambda posted: None
    """Called before a request is answered."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?to=me"

    def wait_for(self, count: int) -> list[Posted]:
        deadline = time.monotonic() + PATIENCE
        while len(self.got) < count:
            assert time.monotonic() < deadline, self.got
            time.sleep(0.05)
        return self.got


@contextmanager
def hooks(context: ssl.SSLContext | None = None) -> Iterator[Hooks]:
    """A receiver of webhooks; with a context it speaks TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posted = Posted(self.path, dict(self.headers.items()), body)
            found.on_request(posted)
            found.got.append(posted)
            self.send_response(found.statuses.pop(0) if found.statuses else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    found = Hooks(server.server_port)
    with _serving(server):
        yield found


@dataclass
class Mails:
    """A mail server, and what it got."""

    port: int
    user: str = ""
    password: str = ""
    logins: list[str] = field(default_factory=list)
    got: list[str] = field(default_factory=list)
    encrypted: bool = False
    """The last of them came over TLS."""


@contextmanager
def mails(
    context: ssl.SSLContext | None = None, user: str = "", password: str = ""
) -> Iterator[Mails]:
    """A mail server; with a context it offers STARTTLS."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = 30

        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def finish(self) -> None:
            super().finish()
            self.request.close()

        def handle(self) -> None:
            secured = False
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                verb, _, rest = line.partition(" ")
                match verb.upper():
                    case "EHLO":
                        offers = ["here", *(["AUTH PLAIN"] if user else [])]
                        offers += ["STARTTLS"] if context and not secured else []
                        for offer in offers[:-1]:
                            self.say(f"250-{offer}")
                        self.say(f"250 {offers[-1]}")
                    case "STARTTLS" if context is not None:
                        self.say("220 go on")
                        try:
                            self.request = context.wrap_socket(self.request, server_side=True)
                        except OSError:  # we are a stranger to the caller
                            return
                        self.setup()
                        secured = True
                    case "AUTH":
                        found.logins.append(base64.b64decode(rest.split()[1]).decode())
                        right = found.logins[-1] == f"\0{user}\0{password}"
                        self.say("235 welcome" if right else "535 no")
                    case "DATA":
                        self.say("354 go on")
                        lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                        found.got.append("".join(lines))
                        found.encrypted = secured
                        self.say("250 taken")
                    case "QUIT":
                        self.say("221 bye")
                        return
                    case _:
                        self.say("250 fine")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Mails(server.server_address[1], user, password)
    with _serving(server):
        yield found


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
