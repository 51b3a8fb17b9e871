# ruff: noqa: T201 - what it prints is what is tested
"""A scoring runtime that behaves as it is told: what supervisors and drivers are tested with.

`python fake_runtime.py --config <replica.json>`; what it does wrong stands in the variable
`MISBEHAVE`. It answers every request with its process id, what tells this life from others, its
deployment and the request's path. `/sleep?seconds`, `/eat?mebibytes`, `/burn?seconds`,
`/print?lines`, `/exit?status` and `/spawn?mark` do as they say.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

CONFIG = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
MISBEHAVE = os.environ.get("MISBEHAVE", "")
IDENTITY = {
    "pid": os.getpid(),
    "life": os.urandom(8).hex(),
    "deployment": os.environ.get("DEPLOYMENT"),
}
EATEN: list[bytearray] = []


def publish(phase: str, cause: dict[str, Any] | None = None) -> None:
    path = Path(CONFIG["status"])
    document = {"phase": phase, "pid": os.getpid(), "workers": [], "worker_restarts": 0}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({**document, "cause": cause}))
    temporary.replace(path)


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        print("asked", self.path, flush=True)
        body = json.dumps({**IDENTITY, "path": self.path, **self.behave()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def behave(self) -> dict[str, Any]:
        path, _, argument = self.path.partition("?")
        match path:
            case "/sleep":
                time.sleep(float(argument))
            case "/eat":
                EATEN.append(bytearray(b"x") * (int(argument) << 20))
            case "/burn":
                return {"cpu_seconds": burn(float(argument))}
            case "/print":
                print("\n".join(f"line {n}" for n in range(int(argument))), flush=True)
            case "/exit":
                os._exit(int(argument))
            case "/spawn":  # a child that leaves the process group
                sleep = [sys.executable, "-S", "-c", "import time; time.sleep(600)", argument]
                return {"child": subprocess.Popen(sleep, start_new_session=True).pid}
            case "/interfaces":
                return {"interfaces": [name for _, name in socket.if_nameindex()]}
            case "/environment":
                return {"environment": dict(os.environ)}
        return {}

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def address_string(self) -> str:
        return "gateway"

    def log_message(self, format: str, *args: object) -> None:
        pass


def burn(seconds: float) -> float:
    """Compute for so long; the processor's seconds that this took."""
    until, began = time.monotonic() + seconds, time.process_time()
    while time.monotonic() < until:
        pass
    return time.process_time() - began


def inherited() -> socket.socket:
    return socket.socket(fileno=CONFIG["fd"])


def bound() -> socket.socket:
    """As the runtime does it in a container, where it inherits nothing."""
    [address] = CONFIG["listen"]
    if not address.startswith("unix:"):
        return socket.create_server(("", int(address.rpartition(":")[2])))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address.removeprefix("unix:"))
    os.chmod(address.removeprefix("unix:"), 0o666)
    listener.listen(64)
    return listener


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self) -> None:
        super().__init__(("", 0), Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = inherited() if "fd" in CONFIG else bound()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, _ = self.socket.accept()
        connection.settimeout(2)
        return connection, ("", 0)


def start() -> None:
    publish("importing")
    publish("initialising")
    if MISBEHAVE == "hang":
        time.sleep(600)
    if MISBEHAVE == "exit":
        print(("\N{SNOWMAN}" * 5000 + "\n") * 50, "giving up", flush=True)
        sys.exit(7)
    if MISBEHAVE == "raise":
        publish(
            "failed",
            {
                "code": "init_raised",
                "message": "`init()` raised ValueError: no",
                "evidence": ["score.py, line 3", "ValueError: no"],
                "fix": "Mend it.",
            },
        )
        sys.exit(3)
    if MISBEHAVE == "eat":
        EATEN.append(bytearray(b"x") * (300 << 20))
    time.sleep(float(os.environ.get("START_TAKES", "0")))


def main() -> None:
    print("starting", CONFIG["service"], flush=True)
    start()
    server = Server()

    def drain(*_: object) -> None:
        publish("draining")
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, drain)
    publish("ready")
    server.serve_forever(poll_interval=0.02)
    server.socket.detach()
    server.server_close()


if __name__ == "__main__":
    main()
