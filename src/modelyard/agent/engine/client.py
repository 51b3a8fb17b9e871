"""A small client of the Docker Engine API: what running replicas takes of it, and no more.

Used by the agent, and by the process that holds one container. Every answer may be nonsense: it is
read up to a limit and its shape is checked.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from modelyard.agent.engine.address import Address
from modelyard.agent.engine.problems import (
    START_ONE,
    EngineForbidden,
    EngineProblem,
    EngineRefused,
    NoEngine,
    NoSuchObject,
    NotAnEngine,
)

_PATIENCE = 60.0  # seconds for an answer; creating and removing may wait for a slow disk
_LOOK_PATIENCE = 5.0  # the same while looking for an engine
_LOADING_PATIENCE = 600.0  # between two signs of life while an image is taken in
_LARGEST_ANSWER = 32 << 20
_LONGEST_MESSAGE = 1000
_CHUNK = 1 << 16

Query = Mapping[str, str | int]


class Engine:
    """One engine. Every call opens a connection of its own, so any thread may make it.

    Raises:
        NoEngine: Nobody answers; any call may raise it.
        EngineForbidden: This user may not connect.
        NotAnEngine: The answer makes no sense.
        EngineRefused: The engine says no, and why.
    """

    def __init__(self, address: Address) -> None:
        self.address = address

    def ping(self) -> None:
        """Find out whether an engine answers."""
        with self._ask("GET", "/_ping", patience=_LOOK_PATIENCE) as answer:
            if answer.getheader("Api-Version") is None:
                raise self._nonsense("no API version in its answer")

    def info(self) -> dict[str, Any]:
        """What the engine says of itself and its host."""
        return self._object("GET", "/info")

    def version(self) -> dict[str, Any]:
        """Which engine it is."""
        return self._object("GET", "/version")

    def load(self, archive: Iterable[bytes]) -> None:
        """Take in the images of an archive, which is streamed."""
        with self._ask(
            "POST", "/images/load", {"quiet": 1}, chunks=archive, patience=_LOADING_PATIENCE
        ) as answer:
            for line in self._whole(answer).splitlines():
                self._refuse_error_line(line)

    def image(self, name: str) -> dict[str, Any]:
        """An image by its tag."""
        return self._object("GET", f"/images/{quote(name)}/json")

    def images(self, name: str) -> list[dict[str, Any]]:
        """Images whose tags begin with a name."""
        return self._list("/images/json", {"filters": json.dumps({"reference": [name]})})

    def remove_image(self, name: str) -> None:
        """Take a tag away, and the image with its last one; what a container uses stays."""
        self._nothing("DELETE", f"/images/{quote(name)}")

    def create(self, name: str, body: Mapping[str, Any]) -> list[str]:
        """Create a container of this name; returns what the engine cannot give it."""
        warnings = self._object("POST", "/containers/create", {"name": name}, body).get("Warnings")
        return [_short(text) for text in warnings] if isinstance(warnings, list) else []

    def start(self, name: str) -> None:
        """Start a created container."""
        self._nothing("POST", f"/containers/{name}/start")

    def inspect(self, name: str) -> dict[str, Any]:
        """Everything about a container."""
        return self._object("GET", f"/containers/{name}/json")

    def containers(self, label: str) -> list[dict[str, Any]]:
        """Containers with a label, given as `name=value`; also ended ones."""
        query: Query = {"all": 1, "filters": json.dumps({"label": [label]})}
        return self._list("/containers/json", query)

    def memory(self, name: str) -> int:
        """Bytes a running container uses, without what the kernel would give up at once."""
        query = {"stream": "false", "one-shot": "true"}
        stats = self._object("GET", f"/containers/{name}/stats", query)
        memory = stats.get("memory_stats")
        if not isinstance(memory, dict):
            return 0
        detail = memory.get("stats")
        cached = detail if isinstance(detail, dict) else {}
        spare = cached.get("inactive_file", cached.get("total_inactive_file", 0))
        used = memory.get("usage", 0)
        return max(0, used - spare) if isinstance(used, int) and isinstance(spare, int) else 0

    def signal(self, name: str, number: str) -> None:
        """Send a signal, such as `SIGTERM`, to a running container."""
        self._nothing("POST", f"/containers/{name}/kill", {"signal": number})

    def remove(self, name: str) -> None:
        """End and remove a container with its volumes; nothing when there is none."""
        with contextlib.suppress(NoSuchObject):
            self._nothing("DELETE", f"/containers/{name}", {"force": "true", "v": "true"})

    def wait(self, name: str) -> int:
        """Wait for the end of a container, however long; returns its exit status."""
        query = {"condition": "not-running"}
        with self._ask("POST", f"/containers/{name}/wait", query, patience=None) as answer:
            document = self._json(self._whole(answer))
        if not isinstance(document, dict) or not isinstance(document.get("StatusCode"), int):
            raise self._nonsense("no exit status in its answer")
        return int(document["StatusCode"])

    def output(self, name: str) -> Iterator[bytes]:
        """What a container writes from now on until it ends; attached when this returns."""
        chunks = self._output(name)
        next(chunks)
        return chunks

    def _output(self, name: str) -> Iterator[bytes]:
        query = {"stream": "true", "stdout": "true", "stderr": "true"}
        with self._ask("POST", f"/containers/{name}/attach", query, patience=None) as answer:
            yield b""
            while len(header := b"".join(_pieces(answer, 8))) == 8:
                yield from _pieces(answer, int.from_bytes(header[4:], "big"))

    def _object(
        self, method: str, path: str, query: Query | None = None, body: Any = None
    ) -> dict[str, Any]:
        with self._ask(method, path, query, body) as answer:
            document = self._json(self._whole(answer))
        if not isinstance(document, dict):
            raise self._nonsense("its answer is not an object")
        return document

    def _list(self, path: str, query: Query) -> list[dict[str, Any]]:
        with self._ask("GET", path, query) as answer:
            document = self._json(self._whole(answer))
        if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
            raise self._nonsense("its answer is not a list of objects")
        return document

    def _nothing(self, method: str, path: str, query: Query | None = None) -> None:
        with self._ask(method, path, query) as answer:
            self._whole(answer)

    @contextlib.contextmanager
    def _ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        *,
        chunks: Iterable[bytes] | None = None,
        patience: float | None = _PATIENCE,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = _Connection(self.address, patience)
        try:
            answer = _exchange(connection, method, f"{path}?{urlencode(query or {})}", body, chunks)
            if answer.status >= 400:
                raise self._refusal(answer)
            yield answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _whole(self, answer: http.client.HTTPResponse) -> bytes:
        data = answer.read(_LARGEST_ANSWER + 1)
        if len(data) > _LARGEST_ANSWER:
            raise self._nonsense("its answer does not end")
        return data

    def _json(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._nonsense("its answer is not JSON") from error

    def _refuse_error_line(self, line: bytes) -> None:
        """Loading answers 200 before it has begun; what goes wrong then stands in a line."""
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(line)
            if isinstance(document, dict) and document.get("error"):
                raise EngineRefused(_short(document["error"]), 200)

    def _refusal(self, answer: http.client.HTTPResponse) -> EngineProblem:
        data = answer.read(_LARGEST_ANSWER)
        try:
            message = _short(json.loads(data)["message"])
        except (ValueError, LookupError, TypeError, RecursionError):
            return self._nonsense(f"status {answer.status} without a message")
        kind = NoSuchObject if answer.status == 404 else EngineRefused
        return kind(message, answer.status)

    def _nonsense(self, what: str) -> NotAnEngine:
        return NotAnEngine(
            f"what answers at {self.address} is no container engine: {what}",
            hint="name the engine's own socket in MODELYARD_ENGINE",
        )

    def _unreachable(self, error: Exception) -> EngineProblem:
        if isinstance(error, PermissionError):
            return EngineForbidden(
                f"this user may not use the container engine at {self.address}",
                hint="add the user to the group of that socket (often `docker`) and log in again, "
                "or run podman's own socket for the user: "
                "`systemctl --user enable --now podman.socket`",
            )
        if isinstance(error, OSError):
            reason = error.strerror or str(error) or type(error).__name__
            return NoEngine(
                f"no container engine answers at {self.address}: {reason}", hint=START_ONE
            )
        return self._nonsense(str(error)[:200] or type(error).__name__)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, or over a port of this host."""

    def __init__(self, address: Address, patience: float | None) -> None:
        super().__init__(address.host or "engine", address.port or 80, timeout=patience)
        self._address = address

    def connect(self) -> None:
        if not self._address.socket:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address.socket)


def _exchange(
    connection: _Connection, method: str, path: str, body: Any, chunks: Iterable[bytes] | None
) -> http.client.HTTPResponse:
    if chunks is not None:
        headers = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
        try:
            connection.request(method, path, chunks, headers, encode_chunked=True)
        except OSError as error:
            # An engine that refuses an archive answers before it has read all of it.
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
    elif body is not None:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
    else:
        connection.request(method, path)
    return connection.getresponse()


def _pieces(answer: http.client.HTTPResponse, size: int) -> Iterator[bytes]:
    """So many bytes as they come; fewer at the end of the stream."""
    while size and (piece := answer.read1(min(size, _CHUNK))):
        size -= len(piece)
        yield piece


def _short(message: object) -> str:
    """One line that a terminal may show, whatever the engine passed on."""
    text = " ".join(str(message)[:_LONGEST_MESSAGE].split())
    return "".join(c if c.isprintable() else "?" for c in text)
