"""CPU per request of the server core and of the gateway, beside the least programs that could do.

The core echoes small JSON next to a bare parser that echoes; both read the same requests. The
gateway passes them to two such bare echoes, next to HAProxy with the same features on, when that
is installed: a key, a prefix taken off, a request id, least connections, a limit for each replica.
Needs `wrk`. Rounds take turns, and each figure is a median, because machines are noisy.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelyard.agent.gateway.config import GatewayConfig, Key, ServiceRoute, Upstream, write_config
from modelyard.domain.keys import make_key

CONNECTIONS = 64
SECONDS = 2
ROUNDS = 5
BODY = '{"data": [[5.1, 3.5, 1.4, 0.2]]}'
KEY = make_key(b"m" * 32, "0123456789abcdef")
TICKS = os.sysconf("SC_CLK_TCK")

SCRIPT = f"""
wrk.method = "POST"
wrk.body = '{BODY}'
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {KEY.text}"
wrk.headers["accept"] = "*/*"
wrk.headers["user-agent"] = "python-requests/2.32"
"""

LISTEN = """
import asyncio, socket, sys, uvloop
address = sys.argv[1]
if address.isdigit():
    listener = socket.create_server(("127.0.0.1", int(address)), backlog=1024)
else:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(1024)
"""

BARE = (
    LISTEN
    + """
import httptools

HEAD = b"HTTP/1.1 200 OK\\r\\n" \\
    b"content-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n"

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_message_begin(self):
        self.body = b""

    def on_body(self, part):
        self.body += part

    def on_message_complete(self):
        self.transport.write(HEAD % len(self.body) + self.body)

async def main():
    loop = asyncio.get_running_loop()
    if listener.family == socket.AF_UNIX:
        await loop.create_unix_server(Echo, sock=listener)
    else:
        await loop.create_server(Echo, sock=listener)
    await asyncio.sleep(1e6)

uvloop.run(main())
"""
)

CORE = (
    LISTEN
    + """
import gc
from modelyard_runtime.http.server import JSON, Response, Server

def echo(request):
    return Response(200, request.body, [JSON])

async def main():
    await Server(echo).start(listener)
    await asyncio.sleep(1e6)

gc.freeze()
uvloop.run(main())
"""
)

HAPROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 60s
    timeout queue 10s
    timeout http-request 10s
frontend front
    bind 127.0.0.1:{port}
    unique-id-format %[uuid()]
    http-request deny deny_status 401 unless {{ req.hdr(authorization) -m str "Bearer {key}" }}
    http-request deny deny_status 404 unless {{ path_beg /services/digits/ }}
    http-request del-header authorization
    http-request set-header x-request-id %[unique-id]
    http-request set-header x-forwarded-prefix /services/digits
    http-request replace-path /services/digits(/.*) \\1
    http-response set-header x-request-id %[unique-id]
    default_backend replicas
backend replicas
    balance leastconn
    http-reuse always
    option http-keep-alive
    server a unix@{folder}/a.sock maxconn 64
    server b unix@{folder}/b.sock maxconn 64
"""


class Program:
    """A server under load."""

    def __init__(self, command: list[str], port: int, path: str) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._url = f"http://127.0.0.1:{port}{path}"
        self.costs: list[float] = []
        self.rates: list[float] = []
        wait_for_port(port)

    def load(self, script: Path) -> None:
        """One round."""
        before = self._cpu()
        report = subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), self._url],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        if "Non-2xx" in report or "Socket errors" in report:
            raise RuntimeError(report)
        requests = int(_found(r"(\d+) requests in", report))
        self.costs.append((self._cpu() - before) / requests * 1e6)
        self.rates.append(float(_found(r"Requests/sec:\s+([\d.]+)", report)))

    def _cpu(self) -> float:
        """Seconds of CPU that the process has used, in the kernel too."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(text)
    return match[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def python(source: str, address: int | str) -> list[str]:
    return [sys.executable, "-c", source, str(address)]


def in_turn(script: Path, programs: list[Program]) -> None:
    """Rounds of all programs, so that a slow minute of the machine meets each of them."""
    for _ in range(ROUNDS):
        for program in programs:
            program.load(script)


def ratio(ours: Program, theirs: Program) -> float:
    pairs = zip(ours.costs, theirs.costs, strict=True)
    return statistics.median(mine / other for mine, other in pairs)


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    if shutil.which("wrk") is None:
        print("bench http: wrk is not installed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="my-") as name:
        folder = Path(name)
        script = folder / "post.lua"
        script.write_text(SCRIPT)
        yield from core(script)
        yield from gateway(folder, script)


def core(script: Path) -> Iterator[dict[str, Any]]:
    """The server core beside a bare parser."""
    ports = free_port(), free_port()
    programs = [
        Program(python(source, port), port, "/score")
        for source, port in zip((BARE, CORE), ports, strict=True)
    ]
    try:
        in_turn(script, programs)
    finally:
        for program in programs:
            program.end()
    bare, ours = programs
    yield cost("bare parser", bare)
    yield cost("server core", ours)
    yield {
        "figure": "server core, over a bare parser",
        "value": ratio(ours, bare),
        "unit": "ratio",
        "goal": "<= 1.5",
    }


def gateway(folder: Path, script: Path) -> Iterator[dict[str, Any]]:
    """The gateway beside HAProxy, both in front of two bare echoes."""
    replicas = [subprocess.Popen(python(BARE, str(folder / f"{name}.sock"))) for name in "ab"]
    programs: list[Program] = []
    try:
        while not all((folder / f"{name}.sock").exists() for name in "ab"):
            time.sleep(0.05)
        programs.append(start_gateway(folder))
        if shutil.which("haproxy") is None:
            print("bench http: haproxy is not installed", file=sys.stderr)
        else:
            programs.append(start_haproxy(folder))
        in_turn(script, programs)
    finally:
        for program in programs:
            program.end()
        for replica in replicas:
            replica.kill()
            replica.wait()
    yield cost("gateway", programs[0])
    yield {
        "figure": "gateway, requests per second",
        "value": statistics.median(programs[0].rates),
        "unit": "1/s",
        "goal": "",
    }
    if len(programs) > 1:
        yield cost("HAProxy", programs[1])
        yield {
            "figure": "gateway, over HAProxy",
            "value": ratio(programs[0], programs[1]),
            "unit": "ratio",
            "goal": "<= 1.7",
        }


def cost(name: str, program: Program) -> dict[str, Any]:
    value = statistics.median(program.costs)
    return {"figure": f"{name}, CPU per request", "value": value, "unit": "us", "goal": ""}


def start_gateway(folder: Path) -> Program:
    route = ServiceRoute(
        name="digits",
        auth="key",
        keys=(Key(KEY.id, "primary", KEY.hash),),
        scoring_timeout=60.0,
        max_concurrent_requests=64,
        max_queue_wait=10.0,
        upstreams=tuple(Upstream(str(folder / f"{name}.sock"), "d", 100, name) for name in "ab"),
    )
    write_config(folder / "config.json", GatewayConfig(1, (route,)))
    port = free_port()
    command = [sys.executable, "-m", "modelyard.agent.gateway"]
    arguments = ["--dir", str(folder), "--port", str(port)]
    program = Program([*command, *arguments], port, "/services/digits/score")
    time.sleep(0.5)  # it follows its configuration a moment after it listens
    return program


def start_haproxy(folder: Path) -> Program:
    port = free_port()
    settings = folder / "haproxy.cfg"
    settings.write_text(HAPROXY.format(port=port, key=KEY.text, folder=folder))
    return Program(["haproxy", "-db", "-f", str(settings)], port, "/services/digits/score")
