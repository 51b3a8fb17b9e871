"""Takes what turned out to be true of answers, and stores it: no replica is needed for that.

Truths are checked, and are on the disk before they are acknowledged; all that a request brought, or
nothing. They are written in a thread, because a disk may take its time, to segments of their own:
what makes room for records throws no truth away.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from modelyard.agent.gateway.answers import own_answer, try_again
from modelyard.agent.gateway.capturing import key_id, rules_of
from modelyard.agent.gateway.config import CaptureRoute, ServiceRoute
from modelyard.files import sync_folder
from modelyard_runtime.capture.records import Told, encode
from modelyard_runtime.capture.rules import Rules, Unreadable
from modelyard_runtime.capture.segments import frame
from modelyard_runtime.capture.spool import DROP_NEW, Bounds, Spool
from modelyard_runtime.http.server import JSON, HttpError, Reply, Request, Response

PATH = b"/feedback"
"""Of a service: the address that is answered here."""
FOLDER = "feedback"
"""Of a service's truths, below the one of its records."""
LARGEST = 1 << 20
"""Bytes of a request."""
MOST = 10_000
"""Truths of a request, one for each row."""
LARGEST_TRUTH = 16 << 10
"""Bytes of one, as JSON."""
MOST_HELD = 32 << 20
"""Bytes of requests to one service that wait until they are stored."""

Truths = Mapping[tuple[str, int], bytes]
"""JSON, by prediction id and row."""


class Invalid(ValueError):
    """A body is no feedback; the message says why."""


class _One(msgspec.Struct, forbid_unknown_fields=True):
    prediction_id: Annotated[str, Meta(min_length=1, max_length=200)]
    truth: Any
    row: Annotated[int, Meta(ge=0, lt=MOST)] | UnsetType = UNSET


class _Several(msgspec.Struct, forbid_unknown_fields=True):
    feedback: Annotated[list[_One], Meta(min_length=1, max_length=MOST)]


_ID = re.compile("[!-~]+")
_one = msgspec.json.Decoder(_One)
_several = msgspec.json.Decoder(_Several)
_outline = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_truths(body: bytes, rules: Rules | None) -> Truths:
    """The truths of a body: `{"prediction_id", "truth"}`, or `{"feedback": [several of those]}`.

    A list has one truth for each row of the request, null where it is not known yet; `row` says of
    which row a truth is, which may then be a list itself. Of several about one row the last counts.

    Raises:
        Invalid: It is something else.
    """
    try:
        told = (
            [_one.decode(body)]
            if "feedback" not in _outline.decode(body)
            else (_several.decode(body).feedback)
        )
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(str(error)) from error
    except RecursionError:
        raise Invalid("it is nested too deeply") from None
    truths: dict[tuple[str, int], bytes] = {}
    for one in told:
        if not _ID.fullmatch(one.prediction_id):
            raise Invalid(
                f"`{ascii(one.prediction_id)[1:-1]}` is no prediction id: that is letters, digits "
                "and signs without a space, as the answer's `x-prediction-id` has it"
            )
        before = len(truths)
        for row, truth in _rows(one):
            truths[one.prediction_id, row] = _written(one.prediction_id, truth, rules)
        if len(truths) > MOST:
            raise Invalid(f"it has more than {MOST} truths: send several requests")
        if not truths or (len(told) == 1 and len(truths) == before):
            raise Invalid(f"there is no truth of `{one.prediction_id}` in it")
    return truths


def _rows(one: _One) -> list[tuple[int, Any]]:
    if isinstance(one.row, int):
        rows = [(one.row, one.truth)]
    else:
        listed = one.truth if isinstance(one.truth, list) else [one.truth]
        rows = list(enumerate(listed))
    return [(row, truth) for row, truth in rows if truth is not None]


def _written(prediction: str, truth: Any, rules: Rules | None) -> bytes:
    written = msgspec.json.encode(truth)
    if len(written) > LARGEST_TRUTH:
        raise Invalid(f"a truth of `{prediction}` is longer than {LARGEST_TRUTH} bytes")
    if rules is None:
        return written
    try:
        return rules.body(written, is_input=False)
    except Unreadable:
        raise Invalid(f"a rule cannot be applied to a truth of `{prediction}`") from None


class Desk:
    """Takes the truths of one service.

    Args:
        folder: Of its records and truths.
        writer: Which process of the gateway this is: part of the file names.
        thread: Where files are written: one thread.
    """

    def __init__(self, folder: Path, writer: str, thread: Executor) -> None:
        self._folder = folder / FOLDER
        self._writer = writer
        self._thread = thread
        self._spool: Spool | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._held = 0
        self.is_open = False
        """There is something to be closed."""

    def follow(self, route: ServiceRoute, capture: CaptureRoute) -> None:
        """Take truths as a route says from now on."""
        self._service = route.name
        self._bounds = Bounds(capture.space, DROP_NEW, durable=True)
        self._rules = rules_of(capture)
        self._knows_callers = route.auth in ("key", "token")

    def take(self, request: Request, request_id: bytes) -> Reply:
        """Answer a request that was let in."""
        reply = Reply()
        size = LARGEST if request.stream is not None else len(request.body)
        task = asyncio.get_running_loop().create_task(
            self._answer(request, request_id, reply)
            if self._held + size <= MOST_HELD
            else self._turn_away(request, request_id, reply)
        )
        self._held += size
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._forget(task, size))
        return reply

    def _forget(self, task: asyncio.Task[None], size: int) -> None:
        self._tasks.discard(task)
        self._held -= size

    def tick(self, *, close: bool = False) -> None:
        """Let the agent have what is due, or all."""
        if self.is_open:
            self._thread.submit(self._close if close else self._tick)

    async def _turn_away(self, request: Request, request_id: bytes, reply: Reply) -> None:
        with suppress(HttpError):  # the server has told the client
            await _body(request, 0)
            reply.send(self._no_room(request_id, "too much waits to be stored"))

    async def _answer(self, request: Request, request_id: bytes, reply: Reply) -> None:
        try:
            body = await _body(request, LARGEST)
        except HttpError:
            return  # the server has told the client
        refusal = self._refuses(request, body, request_id)
        if refusal is not None or body is None:
            reply.send(refusal or self._too_large(request_id))
            return
        loop = asyncio.get_running_loop()
        key = key_id(request.headers.get(b"authorization")) if self._knows_callers else ""
        try:
            count = await loop.run_in_executor(self._thread, self._store, body, self._rules, key)
        except Invalid as error:
            message = f"the body is no feedback for service `{self._service}`: {error}"
            reply.send(own_answer(422, "invalid_feedback", message, request_id))
            return
        except OSError as error:
            reply.send(self._no_room(request_id, error.strerror or str(error)))
            return
        if not count:
            reply.send(self._no_room(request_id, "there is no room"))
            return
        fields = [JSON, (b"x-request-id", request_id)]
        reply.send(Response(200, msgspec.json.encode({"stored": count}), fields))

    def _refuses(self, request: Request, body: bytes | None, request_id: bytes) -> Response | None:
        if request.method != "POST":
            message = f"feedback for service `{self._service}` is sent with POST"
            return own_answer(405, "method_not_allowed", message, request_id, (b"allow", b"POST"))
        coding = request.headers.get(b"content-encoding", b"identity")
        if coding.lower() != b"identity":
            message = "feedback is read as plain JSON: send it without `content-encoding`"
            return own_answer(415, "invalid_feedback", message, request_id)
        return self._too_large(request_id) if body is None else None

    @staticmethod
    def _too_large(request_id: bytes) -> Response:
        message = f"feedback is longer than {LARGEST} bytes: send it in several requests"
        return own_answer(413, "feedback_too_large", message, request_id)

    def _no_room(self, request_id: bytes, reason: str) -> Response:
        message = f"feedback for service `{self._service}` cannot be stored now: {reason}"
        return try_again("feedback_full", message, request_id)

    # What follows runs in the thread.

    def _store(self, body: bytes, rules: Rules | None, key: str) -> int:
        """How many truths are on the disk now: all of a body's, or none for want of room."""
        truths = read_truths(body, rules)
        if self._spool is None:
            self._spool = Spool(self._folder, self._writer)
            for folder in list(self._folder.parents)[:2]:
                sync_folder(folder)  # the names of new folders have to survive, too
        self._spool.bounds = self._bounds
        now = time.time_ns() // 1000
        frames = b"".join(
            frame(encode(Told(now, prediction, row, truth, key)))
            for (prediction, row), truth in truths.items()
        )
        self.is_open = True
        return len(truths) if self._spool.add_encoded(frames, len(truths)) else 0

    def _tick(self) -> None:
        if self._spool is not None:
            self._spool.tick()
            self.is_open = self._spool.is_open

    def _close(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self.is_open = False


async def _body(request: Request, most: int) -> bytes | None:
    """The whole body; None: it is longer than `most`, and is not kept."""
    if request.stream is None:
        return request.body if len(request.body) <= most else None
    parts: list[bytes] = []
    size = 0
    stream: AsyncIterator[bytes] = request.stream
    async for part in stream:
        size += len(part)
        if size > most:
            parts.clear()
        else:
            parts.append(part)
    return b"".join(parts) if size <= most else None


def desk_of(
    route: ServiceRoute, folder: Path | None, writer: str, thread: Executor, known: Desk | None
) -> Desk | None:
    """What takes the truths of a service; None where they cannot be stored."""
    if route.capture is None or folder is None:
        return None
    desk = known or Desk(folder / route.capture.service, writer, thread)
    desk.follow(route, route.capture)
    return desk
