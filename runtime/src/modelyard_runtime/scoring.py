"""Answers one request with `run`: input, call, output, errors, identifying headers.

It runs in whatever thread a lane chooses and knows nothing of sockets. Every path ends in a
response: a request never sees a traceback, a path or a name of ours.
"""

from __future__ import annotations

import traceback
from asyncio import CancelledError, Task
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from typing import Any

from modelyard_runtime import causes
from modelyard_runtime.capture.collecting import Answering
from modelyard_runtime.capture.wanted import parse
from modelyard_runtime.causes import Cause
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import JSON, Head, HttpError, Reply, Request, Response
from modelyard_runtime.identity import Identity, Ids
from modelyard_runtime.memo import Memo, memo_of
from modelyard_runtime.non_finite import has_non_finite
from modelyard_runtime.protocols.base import Protocol
from modelyard_runtime.request_headers import PARAMETER, RequestHeaders
from modelyard_runtime.signature import Arguments
from modelyard_runtime.speaking import SPEAKER, finish, say
from modelyard_runtime.streaming import AsyncParts, Parts

UNDECODED: Arguments = {}
"""The arguments of a call that has not been decoded."""

_RUN_FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
_MODEL_FAILED = "An unexpected error occurred in the model. Check the logs for more info."
_NOT_SENDABLE = "The scoring script returned what JSON cannot hold. Check the logs for more info."
OUTCOME = b"x-ms-run-function-failed"
"""The field that tells whether `run` has failed. Where the last header of a response is this one,
the script has told it itself."""
SUCCEEDED, _FAILED = b"%b: False\r\n" % OUTCOME, b"%b: True\r\n" % OUTCOME
_TIMES = (
    b"x-ms-run-fn-exec-ms: %b\r\nserver-timing: decode;dur=%.3f, run;dur=%b, encode;dur=%.3f\r\n"
)
_NOT_READ = "The request could not be read. The log has the details."


def asking(head: Head, protocol: Protocol) -> Memo:
    """The memo of a head that asks for a score."""
    memo = memo_of(head)
    memo.identity = Identity(head.headers)
    posted = head.method == "POST" and not head.query
    memo.is_plain = protocol.reads_bodies and posted and not memo.identity.refusal
    memo.protocol = protocol
    return memo


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

    def failed(self, error: BaseException) -> None:
        """`run` has raised: report the cause."""
        self._report(causes.scoring_failed(error, self.entry.scene))


class Call(Reply):
    """One request on its way through a lane: whatever happens, it has a response.

    Its methods never raise, but for the cancellation of `execute_async`.

    Args:
        scorer: What it shares with all calls.
        request: The request.
        memo: What is remembered of its head, as `asking` has made it.
    """

    __slots__ = (
        "_ids",
        "arguments",
        "arrived",
        "cancelled",
        "deadline",
        "decoding",
        "encoding",
        "finished",
        "memo",
        "non_finite",
        "parts",
        "protocol",
        "request",
        "response",
        "running",
        "scorer",
        "started",
        "task",
        "waited",
    )

    def __init__(self, scorer: Scorer, request: Request, memo: Memo) -> None:
        self.settled = self.abandoned = False  # as `Reply` does: this is made for every request
        self._receiver = self._early = None
        self.request = request
        self.memo = memo
        self.protocol: Protocol = memo.protocol
        self.arguments = UNDECODED
        self.parts: Parts | AsyncParts | None = None
        """The body, where it is made while it is sent: the response then comes without one."""
        self.decoding = self.running = self.encoding = self.waited = 0.0
        """Seconds of each stage, for an answer in parts until the first of them; a lane says how
        long the call waited for its turn."""
        self.non_finite = False
        """The answer has null where the result had a NaN or an infinity."""
        self.scorer = scorer
        self._ids: bytes | None = None
        # For lanes, which alone set and read them:
        self.arrived: float
        self.deadline = 0.0
        self.started: bool
        self.finished: bool
        self.cancelled: bool
        self.response: Response | None = None
        self.task: Task[None] | None

    def decode(self) -> Response | None:
        """Fill `arguments`; a response is the refusal of what cannot be scored."""
        began = perf_counter()
        refusal = self.memo.identity.refusal
        if refusal:
            return self.refuse(431, refusal)
        try:
            arguments = self.protocol.decode(self.request)
            if self.scorer.takes_headers:
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
        identity = self.memo.identity
        if identity.capture is None:
            return self._execute()
        with Answering(identity.prediction_id, parse(identity.capture)):
            return self._execute()

    def _execute(self) -> Response:
        if self.arguments is UNDECODED:
            refusal = self.decode()
            if refusal is not None:
                return refusal
        token = SPEAKER.set(self)
        began = perf_counter()
        try:
            result = self.scorer.run(**self.arguments)
            if self.scorer.streams:
                result = self._begun(result)
        except BaseException as error:
            return self.failed(error, perf_counter() - began)
        finally:
            SPEAKER.reset(token)
            finish(self)
        return self.encode(result, perf_counter() - began)

    async def execute_async(self) -> Response:
        """As `execute`, for a `run` that is asynchronous. Raises only if cancelled."""
        identity = self.memo.identity
        if identity.capture is None:
            return await self._execute_async()
        with Answering(identity.prediction_id, parse(identity.capture)):
            return await self._execute_async()

    async def _execute_async(self) -> Response:
        if self.arguments is UNDECODED:
            refusal = self.decode()
            if refusal is not None:
                return refusal
        token = SPEAKER.set(self)
        began = perf_counter()
        try:
            if self.scorer.streams:
                result = await self._begun_async(self.scorer.run(**self.arguments))
            else:
                result = await self.scorer.run(**self.arguments)
        except CancelledError:
            raise
        except BaseException as error:
            return self.failed(error, perf_counter() - began)
        finally:
            SPEAKER.reset(token)
            finish(self)
        return self.encode(result, perf_counter() - began)

    def encode(self, result: Any, seconds: float) -> Response:
        """The answer to what `run` returned, after the seconds that it took."""
        began = perf_counter()
        response = self.respond(result)
        self.running = seconds
        self.encoding = perf_counter() - began
        return self.tell(response, SUCCEEDED, self._times())

    def failed(self, error: BaseException, seconds: float) -> Response:
        """The answer where `run` raised: only an `HttpError` is meant for the caller."""
        self.running = seconds
        if isinstance(error, HttpError):
            response = self.protocol.error(error.status, error.message)
            return self.tell(response, SUCCEEDED, self._times())
        self.blame(error)
        return self.tell(self.protocol.error(500, self.scorer.failure), _FAILED, self._times())

    def refuse(self, status: int, message: str, *fields: tuple[bytes, bytes]) -> Response:
        """An answer without a call of `run`, for whatever reason."""
        response = self.protocol.error(status, message)
        response.headers += fields
        response.encoded = self.ids() + SUCCEEDED
        return response

    def ids(self) -> bytes:
        """What identifies the request in its answer: `x-request-id`, then others, as written."""
        ids = self._ids
        if ids is None:
            ids = self._ids = self.memo.identity.lines(self.scorer.ids)
        return ids

    @property
    def request_id(self) -> str:
        """The request's id as logs have it: printable, without spaces."""
        first = self.ids().partition(b"\r\n")[0].partition(b": ")[2]
        return ascii(first.decode("latin-1")).strip("'").replace(" ", "_") or "?"

    def blame(self, error: BaseException) -> None:
        """Log and report what `run`, or what it returned, has raised."""
        self._log(f"`run()` raised\n{_traceback(error)}")
        self.scorer.failed(error)

    def respond(self, result: Any) -> Response:
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

    def _times(self) -> bytes:
        return times_told(self.decoding, self.running, self.encoding)

    def tell(self, response: Response, outcome: bytes, times: bytes) -> Response:
        """The response with all that is told of the request beside its answer."""
        headers = response.headers
        if headers and headers[-1][0] == OUTCOME:
            outcome = b""  # the script has told it itself
        response.encoded = outcome + self.ids() + times
        return response

    def _log(self, text: str) -> None:
        say(self, text)


def times_told(decoding: float, running: float, encoding: float) -> bytes:
    """The header fields for seconds of each stage, as they are written."""
    run = b"%.3f" % (running * 1000)
    return _TIMES % (run, decoding * 1000, run, encoding * 1000)


def _traceback(error: BaseException) -> str:
    frames = error.__traceback__.tb_next if error.__traceback__ else None  # without ours
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()
