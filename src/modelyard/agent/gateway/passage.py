"""What follows from a head that was let in, found out once for all requests that come with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelyard.agent.gateway.capturing import asked_of
from modelyard.agent.gateway.feedback import PATH as FEEDBACK
from modelyard.agent.gateway.forwarding import Place, encode_head, length_field
from modelyard.agent.gateway.retrying import is_repeatable
from modelyard.agent.gateway.service import Service
from modelyard_runtime.http.server import Head

if TYPE_CHECKING:
    from modelyard.agent.gateway.tracing import Tracing


class Passage:
    """What is remembered of a head that was let in: all that follows from it, done once."""

    __slots__ = (
        "asked",
        "balancer",
        "bodyless",
        "context",
        "deployment",
        "desk",
        "door",
        "epoch",
        "head",
        "is_framed",
        "named",
        "origins",
        "repeatable",
        "request_id",
        "until",
    )

    def __init__(
        self,
        epoch: int,
        until: float,
        service: Service,
        head: Head,
        place: Place,
        tracing: Tracing | None = None,
    ) -> None:
        self.epoch = epoch
        self.until = until
        """Seconds since 1970 until which it holds."""
        self.door: Service | None = None
        """What asks everybody who comes with this head for a certificate; None: nothing does."""
        self.balancer = service.balancer
        self.desk = service.desk if place.path == FEEDBACK else None
        """What answers instead of a replica; None: a replica is to."""
        self.asked = asked_of(service.recorder, head, place)
        """What is recorded of it; None where nothing is."""
        self.origins = service.origins
        self.bodyless = head.method == "HEAD"
        self.repeatable = is_repeatable(head)
        self.request_id = head.headers.get(b"x-request-id")
        self.is_framed = head.length is not None
        self.deployment, self.named = service.deployment_for(head)
        self.context = None if tracing is None else tracing.context_of(head)
        """The trace of its caller; None where none is kept."""
        self.head = encode_head(head, place, tracing.fields if tracing is not None else frozenset())
        """The head for a replica, but for the request's id and the framing of chunks."""
        if head.length is not None:
            self.head += length_field(head.length)
