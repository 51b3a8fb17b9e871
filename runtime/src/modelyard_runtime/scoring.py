"""Answers one request with `run`: input, call, output, errors, identifying headers.

It runs in whatever thread a lane chooses and knows nothing of sockets. Every path ends in a
response: a request never sees a traceback, a path or a name of ours.
"""

from __future__ import annotations

import sys
import traceback
from asyncio import CancelledError, Task
from collections.abc import Callable
from time import perf_counter
from typing import Any

from modelyard_runtime import causes
from modelyard_runtime.causes import Cause
from modelyard_runtime.entry import Entry
from modelyard_runtime.http import HttpError, Reply, Request, Response
from modelyard_runtime.identity import Fields, Identity, Ids
from modelyard_runtime.memo import memo_of
from modelyard_runtime.non_finite import has_non_finite
from modelyard_runtime.protocols.base import Protocol
from modelyard_runtime.request_headers import PARAMETER, RequestHeaders
from modelyard_runtime.signature import Arguments

UNDECODED: Arguments = {}
"""The arguments of a call that has not been decoded."""

_RUN_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
_NOT_SENDABLE = "The scoring script returned what JSON cannot hold. Check the logs for more info."
_NOT_READ = "The request could not be read. The log has the details."


class Scorer:
    """What all calls of one worker share.

    Args:
        entry: What is served.
        report: Is told of every failure of `run`, from whatever thread.
    """

    def __init__(self, entry: Entry, report: Callable[[Cause], None]) -> None:
        self.entry = entry
        self.run = entry.run
        self.takes_headers = entry.takes_headers
        self.ids = Ids()
        self._report = report

    def call(self, request: Request, protocol: Protocol) -> Call:
        """A request on its way."""
        return Call(self, request, protocol)

    def failed(self, error: BaseException) -> None:
        """`run` has raised: report the cause."""
        self._report(causes.scoring_failed(error, self.entry.scene))


class Call(Reply):
    """One request on its way through a lane: whatever happens, it has a response.

    Its methods never raise, but for the cancellation of `execute_async`.
    """

    __slots__ = (
        "_ids",
        "_scorer",
        "arguments",
        "arrived",
        "cancelled",
        "deadline",
        "decoding",
        "encoding",
        "finished",
        "non_finite",
        "protocol",
        "request",
        "response",
        "running",
        "started",
        "task",
        "waited",
    )

    def __init__(self, scorer: Scorer, request: Request, protocol: Protocol) -> None:
        super().__init__()
        self.request = request
        self.protocol = protocol
        self.arguments = UNDECODED
        self.decoding = self.running = self.encoding = self.waited = 0.0
        """Seconds of each stage; a lane says how long the call waited for its turn."""
        self.non_finite = False
        """The answer has null where the result had a NaN or an infinity."""
        self._scorer = scorer
        self._ids: Fields | None = None
        # For lanes, which alone set and read them:
        self.arrived: float
        self.deadline: float
        self.started: bool
        self.finished: bool
        self.cancelled: bool
        self.response: Response
        self.task: Task[None] | None

    def decode(self) -> Response | None:
        """Fill `arguments`; a response is the refusal of what cannot be scored."""
        identity = self._identity()
        if identity.refusal:
            return self.refuse(431, identity.refusal)
        began = perf_counter()
        try:
            arguments = self.protocol.decode(self.request)
            if self._scorer.takes_headers:
                arguments[PARAMETER] = RequestHeaders(self.request.headers)
        except HttpError as error:
            return self.refuse(error.status, error.message)
        except Exception as error:
            self._log(f"the request could not be read\n{_traceback(error)}")
            return self.refuse(500, _NOT_READ)
        self.arguments = arguments
        self.decoding = perf_counter() - began
        return None

    def execute(self) -> Response:
        """Decode if that is still to do, call `run`, encode; in whatever thread."""
        if self.arguments is UNDECODED:
            refusal = self.decode()
            if refusal is not None:
                return refusal
        began = perf_counter()
        try:
            result = self._scorer.run(**self.arguments)
        except BaseException as error:
            return self.failed(error, perf_counter() - began)
        return self.encode(result, perf_counter() - began)

    async def execute_async(self) -> Response:
        """As `execute`, for a `run` that is a coroutine function. Raises only if cancelled."""
        if self.arguments is UNDECODED:
            refusal = self.decode()
            if refusal is not None:
                return refusal
        began = perf_counter()
        try:
            result = await self._scorer.run(**self.arguments)
        except CancelledError:
            raise
        except BaseException as error:
            return self.failed(error, perf_counter() - began)
        return self.encode(result, perf_counter() - began)

    def encode(self, result: Any, seconds: float) -> Response:
        """The answer to what `run` returned, after the seconds that it took."""
        began = perf_counter()
        try:
            response = self.protocol.encode(result, self.request)
            body = response.body
            self.non_finite = isinstance(body, bytes) and b"null" in body and has_non_finite(result)
        except Exception as error:
            self._log(f"the answer of `run()` cannot be sent: {error}")
            response = self.protocol.error(500, _NOT_SENDABLE)
        self.encoding = perf_counter() - began
        return self._timed(response, seconds, b"False")

    def failed(self, error: BaseException, seconds: float) -> Response:
        """The answer where `run` raised: only an `HttpError` is meant for the caller."""
        if isinstance(error, HttpError):
            return self._timed(self.protocol.error(error.status, error.message), seconds, b"False")
        self._log(f"`run()` raised\n{_traceback(error)}")
        self._scorer.failed(error)
        return self._timed(self.protocol.error(500, _RUN_FAILED), seconds, b"True")

    def refuse(self, status: int, message: str, *fields: tuple[bytes, bytes]) -> Response:
        """An answer without a call of `run`, for whatever reason."""
        response = self.protocol.error(status, message)
        headers = response.headers
        headers += fields
        headers += self.ids()
        headers.append((b"x-ms-run-function-failed", b"False"))
        return response

    def ids(self) -> Fields:
        """What identifies the request in its answer: `x-request-id`, then others."""
        ids = self._ids
        if ids is None:
            ids = self._ids = self._identity().fields(self._scorer.ids)
        return ids

    def _identity(self) -> Identity:
        memo = memo_of(self.request.head)
        identity = memo.identity
        if identity is None:
            identity = memo.identity = Identity(self.request.headers)
        return identity

    def _timed(self, response: Response, seconds: float, failed: bytes) -> Response:
        self.running = seconds
        stages = (self.decoding * 1000, seconds * 1000, self.encoding * 1000)
        headers = response.headers
        headers += self.ids()
        headers += (
            (b"x-ms-run-function-failed", failed),
            (b"x-ms-run-fn-exec-ms", b"%.3f" % stages[1]),
            (b"server-timing", b"decode;dur=%.3f, run;dur=%.3f, encode;dur=%.3f" % stages),
        )
        return response

    def _log(self, text: str) -> None:
        """One write, so that the lines of two requests never mix."""
        ids = self.ids()
        request_id = ascii(ids[0][1].decode("latin-1")).strip("'") if ids else "?"
        sys.stderr.write(f"request {request_id}: {text}\n")


def _traceback(error: BaseException) -> str:
    frames = error.__traceback__.tb_next if error.__traceback__ else None  # without ours
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()
