"""Records requests, where a service wants that: those that no worker has recorded.

For each request the gateway decides whether it is to be recorded, and tells its replica. A worker
that has done so, or had no room for it, says that in its answer. Whatever comes back without such a
word is recorded here: an answer of the gateway's own, of a worker that has died, of a runtime that
cannot record.
"""

from __future__ import annotations

import json
import logging
import random
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import jwt

from modelyard.agent.gateway.config import CaptureRoute, ServiceRoute
from modelyard.agent.gateway.forwarding import Place
from modelyard.capture.encrypting import EncryptingRules
from modelyard_runtime.auth import key_in
from modelyard_runtime.capture.records import LARGEST_BODY, Answered
from modelyard_runtime.capture.rules import Rules
from modelyard_runtime.capture.spool import Bounds, Spool
from modelyard_runtime.capture.wanted import FIELD, PREDICTION, SEEN_TO, Wanted, parse
from modelyard_runtime.http.server import Head, Response

_SEEN_TO = b"%b: %b\r\n" % SEEN_TO
_WHOLE = 100
_LONGEST_KEY_ID = 64
_LONGEST = 200
"""Characters of what a caller chose that are recorded."""
NO_ROOM = "it cannot be recorded now, and is to be answered only when it is"

_log = logging.getLogger("modelyard.gateway")


def asks_for_score(path: str, method: str) -> bool:
    """Whether a request to a replica is one that is recorded; its path begins with `/`."""
    if method == "GET":
        return path == "/score"
    if method != "POST":
        return False
    return path in ("/score", "/invocations") or path.endswith("/infer")


class Recorder:
    """Records requests to one service.

    Args:
        route: Of the service.
        capture: What it says of recording.
        folder: Of all spools.
        writer: Which process of the gateway this is: part of the file names.
    """

    def __init__(
        self, route: ServiceRoute, capture: CaptureRoute, folder: Path, writer: str
    ) -> None:
        self._spool = Spool(folder / capture.service, writer)
        self.follow(route, capture)

    def follow(self, route: ServiceRoute, capture: CaptureRoute) -> None:
        """Record as another route says from now on."""
        self._percent = capture.percent
        self.bounds = self._spool.bounds = Bounds(capture.space, capture.when_full, capture.durable)
        self.rules = rules_of(capture)
        """What of a request is recorded; None: all."""
        self._told = rules_of(_without_encrypting(capture))
        self._encrypts = bool(capture.encrypted)
        self._refuses = capture.when_full == "refuse"
        self.knows_callers = route.auth in ("key", "token")
        """What a request says of its caller was checked."""

    def wanted(self, key: str) -> Wanted:
        """What a replica is told. A worker cannot encrypt: those fields it leaves to the gateway.

        Args:
            key: Public part of the caller's key.
        """
        return Wanted(key, self.bounds, self._told, is_collected_only=self._encrypts)

    def draw(self) -> bool:
        """Whether the next request is part of the sample."""
        return self._percent >= _WHOLE or random.random() * _WHOLE < self._percent  # noqa: S311

    @property
    def is_blocked(self) -> bool:
        """Whether requests are to be refused because they cannot be recorded."""
        return self._refuses and not self._spool.has_room()

    def tick(self) -> None:
        """Close what is to be closed."""
        self._spool.tick()

    def close(self) -> None:
        """Let the agent have everything."""
        self._spool.close()

    def sampled_out(self) -> None:
        """A request was answered that is not to be recorded."""
        self._spool.tally.add(answered=1, sampled_out=1)

    def seen_to(self) -> None:
        """A request was answered by a worker that has recorded it, or counted it as dropped."""
        self._spool.tally.add(answered=1)

    def record(self, record: Answered) -> None:
        """A request was answered that no worker has recorded."""
        self._spool.add(record.under(self.rules))
        self._spool.tally.add(answered=1)


class Asked:
    """What is recorded of a request's head, and told to its replica."""

    __slots__ = ("_line", "input_type", "key", "path", "recorder")

    def __init__(self, recorder: Recorder, head: Head, path: str) -> None:
        self.recorder = recorder
        self.path = path
        self.key = key_id(head.headers.get(b"authorization")) if recorder.knows_callers else ""
        self.input_type = head.headers.get(b"content-type", b"")[:_LONGEST].decode("latin-1")
        self._line = b"%b: %b\r\n" % (FIELD, recorder.wanted(self.key).encode())

    def begin(self) -> Recording:
        """A request with this head has come."""
        return Recording(self)

    def told(self, prediction: bytes, request: bytes) -> bytes:
        """The fields that have a replica record the request."""
        if prediction is request:
            return self._line
        return b"%b%b: %b\r\n" % (self._line, PREDICTION, prediction)


class Recording:
    """One request that is to be recorded, or counted, once it is answered."""

    __slots__ = ("_asked", "_began", "wanted")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._began = time.perf_counter()
        self.wanted = asked.recorder.draw()
        """It was not left out of the sample."""

    @property
    def is_blocked(self) -> bool:
        """Whether the request is to be refused because it cannot be recorded."""
        return self.wanted and self._asked.recorder.is_blocked

    def answered(
        self,
        response: Response,
        prediction: bytes,
        request: bytes,
        body: bytes | None,
        place: tuple[str, str],
    ) -> None:
        """An answer is there; it is sent after this.

        Args:
            response: What is sent. A body that comes in parts is not recorded.
            prediction: Id of the answer.
            request: Id of the request.
            body: Of the request, if it is at hand.
            place: Deployment and replica that have answered; empty where none has.
        """
        recorder = self._asked.recorder
        if not self.wanted:
            recorder.sampled_out()
        elif _SEEN_TO in response.encoded:
            response.encoded = response.encoded.replace(_SEEN_TO, b"")
            recorder.seen_to()
        else:
            self._record(response, prediction, request, body, place)

    def _record(
        self,
        response: Response,
        prediction: bytes,
        request: bytes,
        body: bytes | None,
        place: tuple[str, str],
    ) -> None:
        asked = self._asked
        output = response.body if isinstance(response.body, bytes) else None
        asked.recorder.record(
            Answered(
                at=time.time_ns() // 1000,
                prediction=prediction.decode("latin-1"),
                request=request[:_LONGEST].decode("latin-1"),
                key=asked.key,
                deployment=place[0],
                replica=place[1],
                status=response.status,
                seconds=time.perf_counter() - self._began,
                path=asked.path[:_LONGEST],
                code="" if response.encoded or output is None else json.loads(output)["code"],
                input=body if body and len(body) <= LARGEST_BODY else None,
                input_type=asked.input_type,
                input_size=len(body or b""),
                output=output if output and len(output) <= LARGEST_BODY else None,
                output_type=_type_of(response),
                output_size=len(output or b""),
            )
        )


def rules_of(capture: CaptureRoute) -> Rules | None:
    """What of bodies and truths may be recorded; None: all."""
    drop, hashed, key = capture.drop, capture.hashed, bytes.fromhex(capture.key)
    if capture.encrypted:
        public = bytes.fromhex(capture.public)
        return EncryptingRules(drop, hashed, key, capture.encrypted, public)
    return Rules(drop, hashed, key) if drop or hashed else None


def _without_encrypting(capture: CaptureRoute) -> CaptureRoute:
    """What is to be encrypted dropped instead."""
    return replace(capture, drop=(*capture.drop, *capture.encrypted), encrypted=())


def told_again(head: bytes, attempt: int) -> bytes:
    """The head of a request that goes to one more worker: the one before may have recorded it."""
    before, name, rest = head.partition(b"\r\n%b: " % FIELD)
    value, _, after = rest.partition(b"\r\n")
    wanted = parse(value)
    if wanted is None:
        return head
    return b"%b%b%b\r\n%b" % (before, name, wanted._replace(attempt=attempt).encode(), after)


def _type_of(response: Response) -> str:
    if not response.encoded:
        return "application/json"
    start = response.encoded.find(b"content-type: ")
    if start < 0:
        return ""
    end = response.encoded.find(b"\r\n", start)
    return response.encoded[start + 14 : end][:_LONGEST].decode("latin-1")


def key_id(authorization: bytes | None) -> str:
    """The public part of the key that a request came with, or that its token is signed under.

    The gateway has let it in, so what it says of itself is so.
    """
    key = key_in(authorization)
    if key is not None:
        return key.id
    token = (authorization or b"").partition(b" ")[2].strip(b" ").decode("latin-1")
    with suppress(jwt.InvalidTokenError):
        return str(jwt.get_unverified_header(token).get("kid", ""))[:_LONGEST_KEY_ID]
    return ""


def asked_of(recorder: Recorder | None, head: Head, place: Place) -> Asked | None:
    """What is recorded of requests with this head; None where they are not recorded."""
    if recorder is None:
        return None
    path = place.path.decode()
    if not asks_for_score(path, head.method):
        return None
    return Asked(recorder, head, path)


def recorder_of(
    route: ServiceRoute, folder: Path | None, writer: str, known: Recorder | None
) -> Recorder | None:
    """What records requests by a route; None where none is to be, or it cannot be done."""
    if route.capture is None or not route.capture.percent or folder is None:
        if known is not None:
            known.close()
        return None
    if known is not None:
        known.follow(route, route.capture)
        return known
    try:
        return Recorder(route, route.capture, folder, writer)
    except OSError as error:
        _log.error("requests of service `%s` cannot be recorded: %s", route.name, error)
        return None
