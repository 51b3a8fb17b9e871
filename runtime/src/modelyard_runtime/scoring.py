"""Answers one request with `run`: input, call, output, errors, identifying headers.

It runs in whatever thread a lane chooses and knows nothing of sockets. Every path ends in a
response: a request never sees a traceback, a path or a name of ours.
"""

from __future__ import annotations

import sys
import traceback
from asyncio import CancelledError, Task
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

from modelyard_runtime import causes
from modelyard_runtime.causes import Cause
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import JSON, HttpError, Reply, Request, Response
from modelyard_runtime.identity import Fields, Identity, Ids
from modelyard_runtime.memo import memo_of
from modelyard_runtime.non_finite import has_non_finite
from modelyard_runtime.protocols.base import Protocol
from modelyard_runtime.request_headers import PARAMETER, RequestHeaders
from modelyard_runtime.signature import Arguments
from modelyard_runtime.streaming import AsyncParts, Parts

UNDECODED: Arguments = {}
"""The arguments of a call that has not been decoded."""

_RUN_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
_MODEL_FAILED = "An unexpected error occurred in the model. Check the logs for more info."
_NOT_SENDABLE = "The scoring script returned what JSON cannot hold. Check the logs for more info."
OUTCOME = b"x-ms-run-function-failed"
"""The field that tells whether `run` has failed. Where the last header of a response is this one,
the script has told it itself."""
_SUCCEEDED, _FAILED = (OUTCOME, b"False"), (OUTCOME, b"True")
Times = tuple[tuple[bytes, bytes], ...]
"""The header fields that tell how long the stages of a request took."""
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
        self.streams = entry.streams
        self.failure = _RUN_FAILED if entry.scene.script else _MODEL_FAILED
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
        "_identity",
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
        "parts",
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
        self.parts: Parts | AsyncParts | None = None
        """The body, where it is made while it is sent: the response then comes without one."""
        self.decoding = self.running = self.encoding = self.waited = 0.0
        """Seconds of each stage, for an answer in parts until the first of them; a lane says how
        long the call waited for its turn."""
        self.non_finite = False
        """The answer has null where the result had a NaN or an infinity."""
        self._scorer = scorer
        self._identity: Identity | None = None
        self._ids: Fields | None = None
        # For lanes, which alone set and read them:
        self.arrived: float
        self.deadline: float
        self.started: bool
        self.finished: bool
        self.cancelled: bool
        self.response: Response | None
        self.task: Task[None] | None

    def decode(self) -> Response | None:
        """Fill `arguments`; a response is the refusal of what cannot be scored."""
        began = perf_counter()
        identity = self._identify()
        if identity.refusal:
            return self.refuse(431, identity.refusal)
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
            if self._scorer.streams:
                result = self._begun(result)
        except BaseException as error:
            return self.failed(error, perf_counter() - began)
        return self.encode(result, perf_counter() - began)

    async def execute_async(self) -> Response:
        """As `execute`, for a `run` that is asynchronous. Raises only if cancelled."""
        if self.arguments is UNDECODED:
            refusal = self.decode()
            if refusal is not None:
                return refusal
        began = perf_counter()
        try:
            if self._scorer.streams:
                result = await self._begun_async(self._scorer.run(**self.arguments))
            else:
                result = await self._scorer.run(**self.arguments)
        except CancelledError:
            raise
        except BaseException as error:
            return self.failed(error, perf_counter() - began)
        return self.encode(result, perf_counter() - began)

    def encode(self, result: Any, seconds: float) -> Response:
        """The answer to what `run` returned, after the seconds that it took."""
        began = perf_counter()
        response = self._respond(result)
        self.running = seconds
        self.encoding = perf_counter() - began
        return self._told(response, _SUCCEEDED, self._times())

    def failed(self, error: BaseException, seconds: float) -> Response:
        """The answer where `run` raised: only an `HttpError` is meant for the caller."""
        self.running = seconds
        if isinstance(error, HttpError):
            response = self.protocol.error(error.status, error.message)
            return self._told(response, _SUCCEEDED, self._times())
        self.blame(error)
        return self._told(self.protocol.error(500, self._scorer.failure), _FAILED, self._times())

    def refuse(self, status: int, message: str, *fields: tuple[bytes, bytes]) -> Response:
        """An answer without a call of `run`, for whatever reason."""
        response = self.protocol.error(status, message)
        headers = response.headers
        headers += fields
        headers += self.ids()
        headers.append(_SUCCEEDED)
        return response

    def ids(self) -> Fields:
        """What identifies the request in its answer: `x-request-id`, then others."""
        ids = self._ids
        if ids is None:
            identity = self._identity or self._identify()
            ids = self._ids = identity.fields(self._scorer.ids)
        return ids

    def blame(self, error: BaseException) -> None:
        """Log and report what `run`, or what it returned, has raised."""
        self._log(f"`run()` raised\n{_traceback(error)}")
        self._scorer.failed(error)

    def _respond(self, result: Any) -> Response:
        """What a result is answered with, before what is told of every answer."""
        try:
            return self._encoded(result)
        except Exception as error:
            self._log(f"the answer of `run()` cannot be sent: {error}")
            return self.protocol.error(500, _NOT_SENDABLE)

    def _encoded(self, result: Any) -> Response:
        if self.parts is not None:
            return Response(200, b"", [self.parts.content_type])
        response = self.protocol.encode(result, self.request)
        body: Any = response.body
        if type(body) is not bytes:  # the script has made the answer, and its body in parts
            self.parts = Parts(body, self.blame)
            response.body = b""
        elif b"null" in body and JSON in response.headers:
            self.non_finite = has_non_finite(result)
        return response

    def _begun(self, items: Iterator[Any]) -> Any:
        """What a generator yields, as a list; or nothing, and `parts` from now on."""
        if not self.protocol.streams:
            return list(items)
        self.parts = Parts(items, self.blame)
        return None

    async def _begun_async(self, items: AsyncIterator[Any]) -> Any:
        if not self.protocol.streams:
            return [item async for item in items]
        self.parts = await AsyncParts.begin(items, self.blame)
        return None

    def _identify(self) -> Identity:
        memo = memo_of(self.request.head)
        identity = self._identity = memo.identity or Identity(self.request.headers)
        memo.identity = identity
        return identity

    def _times(self) -> Times:
        return _times(self.decoding, self.running, self.encoding)

    def _told(self, response: Response, outcome: tuple[bytes, bytes], times: Times) -> Response:
        """The response with all that is told of the request beside its answer."""
        headers = response.headers
        if not headers or headers[-1][0] != OUTCOME:  # else the script has told it itself
            headers.append(outcome)
        headers += self.ids()
        headers += times
        return response

    def _log(self, text: str) -> None:
        """One write, so that the lines of two requests never mix."""
        ids = self.ids()
        request_id = ascii(ids[0][1].decode("latin-1")).strip("'") if ids else "?"
        sys.stderr.write(f"request {request_id}: {text}\n")


def encode_joined(calls: Sequence[Call], results: Sequence[Any], seconds: float) -> None:
    """Give the calls that one call of `run` has scored their responses.

    The clock is read, and the times are written, once for all of them: each call has the mean of
    what it took to decode and to encode them.

    Args:
        calls: The calls.
        results: One for each.
        seconds: That the call of `run` took.
    """
    began = perf_counter()
    responses = [call._respond(result) for call, result in zip(calls, results, strict=True)]
    encoding = (perf_counter() - began) / len(calls)
    decoding = sum([call.decoding for call in calls]) / len(calls)
    times = _times(decoding, seconds, encoding)
    for call, response in zip(calls, responses, strict=True):
        call.decoding, call.running, call.encoding = decoding, seconds, encoding
        call.response = call._told(response, _SUCCEEDED, times)


def _times(decoding: float, running: float, encoding: float) -> Times:
    run = b"%.3f" % (running * 1000)
    stages = (decoding * 1000, run, encoding * 1000)
    return (
        (b"x-ms-run-fn-exec-ms", run),
        (b"server-timing", b"decode;dur=%.3f, run;dur=%b, encode;dur=%.3f" % stages),
    )


def _traceback(error: BaseException) -> str:
    frames = error.__traceback__.tb_next if error.__traceback__ else None  # without ours
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()
