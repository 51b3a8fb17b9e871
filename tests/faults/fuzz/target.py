"""What is fuzzed: the bytes of one connection, from the server core through every protocol.

No socket and no process: a connection gets its bytes from here and writes to a list. `check` holds
what must be true of every input; `explore` looks for one where it is not, guided by coverage.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import httptools

from modelyard_runtime import signatures
from modelyard_runtime.causes import Scene
from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.connection import Connection, Host
from modelyard_runtime.http.reader import Rules
from modelyard_runtime.http.server import Limits, Request, Response
from modelyard_runtime.protocols import inference, mlflow, score
from modelyard_runtime.routes import Routes
from modelyard_runtime.scoring import Call, Scorer

STATUSES = {200, 400, 404, 405, 408, 413, 414, 415, 417, 422, 431, 505}
"""What strangers can make a healthy replica say. 500 is not among them."""
INTERNALS = re.compile(rb"Traceback|\.py\b|modelyard_runtime|site-packages|object at 0x")

_LIMITS = Limits(header_count=20, header_bytes=2000, url_bytes=300, body_bytes=20_000)


@dataclass
class Flower:
    """A row with a field of each plain kind."""

    petals: int
    length: float
    name: str | None = None
    fresh: bool = True


def rows(flowers: list[Flower]) -> list[float]:
    """Typed: validated before it is called."""
    return [flower.length * flower.petals for flower in flowers]


def text(data: str) -> int:
    """As old scripts are: the body as text."""
    return len(data)


def anything(data: dict) -> Any:  # type: ignore[type-arg]
    """The body parsed as JSON, and sent back."""
    return data


SCRIPTS: tuple[Callable[..., Any], ...] = (rows, text, anything)


class Answer(NamedTuple):
    """One answer as a client reads it."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class _Wire:
    """The transport of a connection without a socket."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.ended = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: Iterable[bytes]) -> None:
        self.written += b"".join(parts)

    def close(self) -> None:
        self.ended = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_eof(self) -> None: ...


class _Clock:
    """As much of an event loop as a connection needs; time stands still."""

    def time(self) -> float:
        return 0.0


class _Server:
    def __init__(self, run: Callable[..., Any]) -> None:
        self.limits = _LIMITS
        self.rules = Rules(_LIMITS)
        self.loop = cast(asyncio.AbstractEventLoop, _Clock())
        self.draining = False
        self.date = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        self.idle_until = 0.0
        self.answer: Callable[[Request], Response] = cast(Any, _routes(run))

    def opened(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...


class _Inline:
    """Scores at once."""

    def submit(self, call: Call) -> Response:
        return call.execute()


def _routes(run: Callable[..., Any]) -> Routes:
    scene = Scene("", "score.py", "")
    parameters = inspect.signature(run).parameters
    entry = Entry(run, signatures.signature_of(run, parameters), scene)
    config = Config(
        fd=0,
        workers=1,
        code="",
        script="score.py",
        models_root="",
        models=(),
        status="",
        service="flowers",
        scoring_timeout=1.0,
        max_body=_LIMITS.body_bytes,
        drain_timeout=1.0,
    )
    surfaces = [module.routes(entry, config, str) for module in (score, inference, mlflow)]
    scorer = Scorer(entry, lambda cause: None)
    return Routes(cast(Any, _Inline()), scorer, surfaces, config, str)


_SERVERS = [_Server(run) for run in SCRIPTS]


def exchange(server: int, pieces: Iterable[bytes]) -> bytes:
    """What a server answers to bytes that come in pieces, until the client ends its side."""
    wire = _Wire()
    connection = Connection(cast(Host, _SERVERS[server]))
    connection.connection_made(cast(Any, wire))
    for piece in pieces:
        if not wire.ended:
            connection.data_received(piece)
    if not wire.ended:
        connection.eof_received()
    connection.connection_lost(None)
    return bytes(wire.written)


class _Reader:
    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name] = value

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 100:
            self.answers.append(Answer(status, self._headers, self._body))

    def read(self, data: bytes) -> list[Answer]:
        self._parser.feed_data(data)
        return self.answers


def check(data: bytes) -> None:
    """Everything that must hold for any bytes: the first chooses the script and how they are cut.

    Raises:
        AssertionError: It does not hold.
    """
    server, step = (data[0] % len(SCRIPTS), 1 + data[0] // len(SCRIPTS)) if data else (0, 1)
    sent = data[1:]
    whole = exchange(server, [sent])
    cut = exchange(server, [sent[at : at + step] for at in range(0, len(sent), step)])
    assert _in_essence(whole) == _in_essence(cut), "the answer depends on how the bytes came"
    if b"HEAD " not in sent:  # their answers say a length and have no body
        for answer in _Reader().read(whole):
            _check_answer(answer)


def _check_answer(answer: Answer) -> None:
    assert answer.status in STATUSES, f"status {answer.status}: {answer.body[:300]!r}"
    assert not INTERNALS.search(answer.body) or answer.status == 200, answer.body[:300]
    if answer.headers.get(b"content-type") == b"application/json" and answer.body.strip():
        json.loads(answer.body, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} in an answer is not JSON")


_VARYING = re.compile(
    rb"(x-request-id|x-ms-request-id|x-ms-run-fn-exec-ms|server-timing): [^\r]*\r\n"
    rb"|HTTP/1.1 100 Continue\r\n\r\n"
)
_REFUSAL = re.compile(
    rb"HTTP/1.1 4\d\d [^\r]*\r\ndate: [^\r]*\r\ncontent-length: \d+\r\nconnection: close\r\n"
    rb"(accept-encoding: [^\r]*\r\n)?content-type: application/json\r\n\r\n[^\r]*$"
)
"""The last answer, if the core made it. Which of several faults it names first may vary."""


def _in_essence(answers: bytes) -> bytes:
    return _REFUSAL.sub(b"refused", _VARYING.sub(b"", answers))
