"""Requests as spans: one for each, within the trace that its caller sends, and one for `run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import propagate
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, use_span

from modelyard_runtime.http.server import Request, Response
from modelyard_runtime.memo import Memo
from modelyard_runtime.scoring import Call, Scorer

Submit = Callable[[Call], Call | Response]
_SERVER_ERROR = 500


class TracedCall(Call):
    """A request with a span, which is the current one while `run` answers it."""

    __slots__ = ("span",)

    def __init__(self, tracer: Tracer, scorer: Scorer, request: Request, memo: Memo) -> None:
        super().__init__(scorer, request, memo)
        head = request.head
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        self.span = tracer.start_span(
            f"{head.method} {head.path}",
            context=propagate.extract(fields),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": head.method, "url.path": head.path},
        )

    def execute(self) -> Response:
        """As it is, with the span as the current one."""
        with use_span(self.span, record_exception=False, set_status_on_exception=False):
            return super().execute()

    async def execute_async(self) -> Response:
        """As it is, with the span as the current one."""
        with use_span(self.span, record_exception=False, set_status_on_exception=False):
            return await super().execute_async()

    def blame(self, error: BaseException) -> None:
        """Add what was raised to the span."""
        self.span.record_exception(error)
        super().blame(error)

    def send(self, response: Response) -> None:
        """Answer, and end the span."""
        self.end(response)
        super().send(response)

    def abandon(self) -> None:
        """End the span: the client has gone."""
        self.span.set_status(Status(StatusCode.ERROR, "the client has gone"))
        self.span.end()
        super().abandon()

    def end(self, response: Response) -> None:
        """The request has this answer; the first one counts."""
        if not self.span.is_recording():
            return
        span = self.span
        span.set_attribute("http.response.status_code", response.status)
        span.set_attribute("modelyard.request_id", self.request_id)
        if self.running:
            span.set_attribute("modelyard.wait_seconds", self.waited)
            span.set_attribute("modelyard.decode_seconds", self.decoding)
            span.set_attribute("modelyard.run_seconds", self.running)
            span.set_attribute("modelyard.encode_seconds", self.encoding)
        if response.status >= _SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))
        span.end()


class Tracing:
    """Has requests traced."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def call(self, scorer: Scorer, request: Request, memo: Memo) -> Call:
        """The request, as lanes take it."""
        return TracedCall(self._tracer, scorer, request, memo)

    def submitting(self, submit: Submit) -> Submit:
        """A lane's `submit`, which may answer at once."""

        def traced(call: Call) -> Call | Response:
            answer = submit(call)
            if isinstance(answer, Response) and isinstance(call, TracedCall):
                call.end(answer)
            return answer

        return traced

    def running(self, scorer: Scorer, *, is_async: bool) -> None:
        """Have every call of `run` for a single request be a span of its own."""
        run = scorer.run
        if scorer.streams:
            return
        if is_async:

            async def traced_async(**arguments: Any) -> Any:
                with self._tracer.start_as_current_span("run"):
                    return await run(**arguments)

            scorer.run = traced_async
        else:

            def traced(**arguments: Any) -> Any:
                with self._tracer.start_as_current_span("run"):
                    return run(**arguments)

            scorer.run = traced
