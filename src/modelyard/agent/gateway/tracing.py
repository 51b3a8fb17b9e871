"""Requests as spans of the gateway, within the traces of their callers.

It needs the extra `otel`, and is imported only where settings name a receiver. A thread of its own
sends spans in batches: what cannot be sent is dropped, and no request waits for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

import modelyard
from modelyard.agent.gateway.passage import Passage
from modelyard.agent.gateway.upstream import Exchange
from modelyard_runtime.http.server import Head, Response
from modelyard_runtime.otel.exporters import exporter

_NAME = "modelyard-gateway"
_FAREWELL = 2.0  # seconds that the last spans get at the end
_SERVER_ERROR = 500


class TracedExchange(Exchange):
    """A request with a span, which ends with its answer, or the begin of one that streams.

    Args:
        span: Its span.
        *parts: What every exchange is made of.
    """

    __slots__ = ("began", "span")

    def __init__(self, span: Span, *parts: Any) -> None:
        super().__init__(*parts)
        self.span = span
        self.began = monotonic()

    def send(self, response: Response) -> None:
        """Answer, and end the span."""
        span = self.span
        if span.is_recording():
            span.set_attribute("http.response.status_code", response.status)
            span.set_attribute("modelyard.request_id", self.request_id.decode("latin-1"))
            span.set_attribute("modelyard.prediction_id", self.prediction_id.decode("latin-1"))
            span.set_attribute("modelyard.attempts", self.attempts)
            if self.replica is not None:
                span.set_attribute("modelyard.replica", self.replica.upstream.replica)
                span.set_attribute("modelyard.deployment", self.replica.upstream.deployment)
                span.set_attribute("modelyard.wait_seconds", self.sent_at - self.began)
            if response.status >= _SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR))
            span.end()
        super().send(response)

    def abandon(self) -> None:
        """End the span: the client has gone."""
        self.span.set_status(Status(StatusCode.ERROR, "the client has gone"))
        self.span.end()
        super().abandon()


class Tracing:
    """Makes the spans of one process. Made after the fork: it has a thread.

    Raises:
        ImportError: A package is not there.
    """

    def __init__(self) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME") or _NAME
        instance = f"{os.uname().nodename}-{os.getpid()}"
        resource = Resource.create({"service.name": name, "service.instance.id": instance})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter("traces")))
        self._tracer = self._provider.get_tracer(_NAME, modelyard.__version__)
        self._propagator = get_global_textmap()
        self.fields = frozenset(
            name.lower().encode() for name in self._propagator.fields - {"baggage"}
        )
        """Header fields that tell a trace: the gateway's own stand in the place of the caller's."""

    def close(self) -> None:
        """Send what is left, within seconds."""
        flush = threading.Thread(target=self._provider.force_flush, daemon=True)
        flush.start()
        flush.join(_FAREWELL)

    def context_of(self, head: Head) -> Context:
        """The trace that a request belongs to by its head."""
        pairs = head.headers.pairs
        return self._propagator.extract(
            {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        )

    def begin(self, passage: Passage, head: Head) -> tuple[Callable[..., Exchange], bytes]:
        """Begin the span of a request: what makes its exchange, and what tells its replica.

        These are header fields, by which the replica's span becomes a child of this one.
        """
        span = self._tracer.start_span(
            f"{head.method} {head.path}",
            context=passage.context,
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": head.method,
                "url.path": head.path,
                "modelyard.service": passage.balancer.route.name,
            },
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=set_span_in_context(span))
        lines = {name.lower().encode(): value.encode("latin-1") for name, value in carrier.items()}
        told = b"".join(b"%b: %b\r\n" % line for line in lines.items() if line[0] in self.fields)
        return partial(TracedExchange, span), told
