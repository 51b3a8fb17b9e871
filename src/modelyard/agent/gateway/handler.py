"""What a gateway does with a request: check the key, find the service, hand it to its balancer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.agent.gateway.admission import Refusals
from modelyard.agent.gateway.answers import BEARER, own_answer
from modelyard.agent.gateway.balancer import Balancer
from modelyard.agent.gateway.board import Seat
from modelyard.agent.gateway.capturing import NO_ROOM
from modelyard.agent.gateway.clients import Clients
from modelyard.agent.gateway.config import GatewayConfig, ServiceRoute, Upstream
from modelyard.agent.gateway.counters import OWN, Counters, counters_in_memory
from modelyard.agent.gateway.forwarding import CHUNKED, end_of_head, length_field, split_path
from modelyard.agent.gateway.passage import Passage
from modelyard.agent.gateway.service import DEPLOYMENT, Service
from modelyard.agent.gateway.upstream import Exchange
from modelyard_runtime.http.server import (
    JSON,
    Head,
    HttpError,
    Limits,
    Peer,
    Reply,
    Request,
    Response,
    Server,
)

if TYPE_CHECKING:
    from modelyard.agent.gateway.tracing import Tracing

_KEPT_BODY = 256 << 10  # bytes of a body that are kept; what is larger is passed on as it comes
_FIGURES_TIME = 10.0  # seconds that the agent may take to tell figures
_FIGURES_AT_ONCE = 8
_UNKNOWN = ServiceRoute(
    name="",
    auth="key",
    keys=(),
    scoring_timeout=1.0,
    max_concurrent_requests=1,
    max_queue_wait=0.0,
    upstreams=(),
)
"""Stands in for services that do not exist, so that to ask for one costs as much."""


class Gateway:
    """Answers requests by the configuration applied last. Belongs to the running event loop.

    Args:
        counters: Where it counts what becomes of them.
        seat: The column of this process on the board of the gateway; None: it is alone.
        captured: Folder in which requests are recorded; None: they are not.
        tracing: What makes a span of each request; None: nothing does.
    """

    def __init__(
        self,
        counters: Counters,
        seat: Seat | None = None,
        captured: Path | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._counters = counters
        self.seat = seat or Seat.alone()
        self.config_version = 0
        """Version of the configuration that is served; 0 before the first."""
        self._epoch = 0
        """Grows with every configuration, and with it all that is remembered of heads is void."""
        self.clients = Clients()
        """Who may come by certificate."""
        self.draining = False
        """On its way out: not ready for more."""
        self._loop = asyncio.get_running_loop()
        self._services: dict[str, Service] = {}
        self._receiving: set[asyncio.Task[None]] = set()
        self._id_prefix = os.urandom(8).hex().encode()
        self._count = 0
        self._closed: list[Balancer] = []
        self._figures: Service | None = None
        """What answers for `/metrics` of every service."""
        self._captured = captured
        self._storing = ThreadPoolExecutor(1, "feedback")
        """Where truths are written."""
        self._nobody = self._apart(_UNKNOWN)

    def apply(self, config: GatewayConfig) -> None:
        """Serve by another configuration from now on. Nothing in flight is dropped."""
        self._counters.follow(_counted(config))
        routes = {route.name: route for route in config.services}
        for name in self._services.keys() - routes.keys():
            service = self._services.pop(name)
            balancer = service.balancer
            balancer.close()
            service.close_segments()
            self._closed.append(balancer)
        for name, route in routes.items():
            if name in self._services:
                self._services[name].change(route)
            else:
                self._services[name] = Service(
                    route, self._loop, self._counters, self.seat, self._storing, self._captured
                )
        self._follow_figures(config)
        self.config_version = config.version
        self._epoch += 1
        self.seat.serves(config.version)

    def _follow_figures(self, config: GatewayConfig) -> None:
        if not config.figures:
            if self._figures is not None:
                self._figures.balancer.close()
            self._figures = None
        elif self._figures is None:
            self._figures = self._apart(_figures(config))
        else:
            self._figures.change(_figures(config))

    def close_segments(self, *, all_of_them: bool = False) -> None:
        """Let the agent have the records that are due, or all."""
        for service in self._services.values():
            service.close_segments(all_of_them=all_of_them)

    def _apart(self, route: ServiceRoute) -> Service:
        """What is no service of a user: nobody counts its requests, or the places they have."""
        return Service(route, self._loop, counters_in_memory(), Seat.alone(), self._storing)

    def look(self) -> None:
        """Look again at what waits, as others may have freed places; and forget what is over."""
        self.seat.look()
        for service in self._services.values():
            service.balancer.look()
        self._closed = [balancer for balancer in self._closed if not balancer.forget()]

    def take_refused(self) -> dict[str, Refusals]:
        """Refused requests by service since the last call, for services that had any."""
        return {
            name: service.take_refusals()
            for name, service in self._services.items()
            if service.refusals.count
        }

    @property
    def longest_request(self) -> float:
        """Seconds in which every request that is here now has been answered."""
        routes = [service.balancer.route for service in self._services.values()]
        return max(
            (max(r.max_queue_wait, r.waking_time) + r.scoring_timeout for r in routes), default=0.0
        )

    def admit(self, head: Head, peer: Peer | None = None) -> Response | None:
        """Refuse a request by its head and who sends it; the HTTP core asks before it reads the
        body."""
        passage = self._passage(head)
        if passage is None:
            return self._let_in(head, peer)
        if passage.door is None:
            return None
        return self._check_client(passage.door, head, peer)

    def _check_client(self, service: Service, head: Head, peer: Peer | None) -> Response | None:
        """Refuse somebody without a certificate that the service takes."""
        lacks = service.admission.refuses(self.clients.identify(peer))
        if not lacks:
            return None
        message = f"service `{service.balancer.route.name}` needs {lacks}"
        refusal = own_answer(403, "certificate_refused", message, self._request_id(head))
        return self._refuse(service, head, refusal)

    def _let_in(self, head: Head, peer: Peer | None) -> Response | None:
        """Refuse a request, or remember what follows from its head."""
        head.memo = None
        place = split_path(head.path)
        if place is None:
            return None
        service = self._services.get(place.service, self._nobody)
        if service.origins is not None:
            allowed = service.origins.preflight(head)
            if allowed is not None:
                return allowed
        until = service.admission.good_until(head.headers.get(b"authorization"))
        if not until:
            return self._refuse(service, head, self._unknown(service, place.service, head))
        if service.admission.by_certificate:
            refusal = self._check_client(service, head, peer)
            if refusal is not None:
                return refusal
        answering = service
        if self._figures is not None and place.path == b"/metrics":
            place, answering = place._replace(path=place.prefix + place.path), self._figures
        try:
            tracing = self._tracing if answering is service else None
            head.memo = Passage(self._epoch, until, answering, head, place, tracing)
        except LookupError:
            return self._refuse(service, head, self._without_deployment(service, head))
        if service.admission.by_certificate:
            head.memo.door = service
        return None

    def handle(self, request: Request) -> Response | Reply:
        """Answer one request; the HTTP core calls this."""
        head = request.head
        passage = self._passage(head)
        if passage is None or passage.door is not None:
            refusal = self.admit(head, request.peer)
            if refusal is not None:
                return refusal
            passage = self._passage(head)
            if passage is None:
                return self._own(head.path, self._request_id(head))
        answer: Reply
        if passage.desk is None:
            answer = self._pass(request, passage)
        else:
            answer = passage.desk.take(request, self._request_id(head))
        if passage.origins is None:
            return answer
        return passage.origins.share(answer, head.headers)

    def _pass(self, request: Request, passage: Passage) -> Exchange:
        """Send a request on its way to a replica."""
        prediction_id = self._new_request_id()
        request_id = passage.request_id or prediction_id
        balancer, asked = passage.balancer, passage.asked
        recording = None if asked is None else asked.begin()
        end = end_of_head(request_id)
        if asked is not None and recording is not None and recording.wanted:
            end = asked.told(prediction_id, request_id) + end
        make: Callable[..., Exchange] = Exchange
        if self._tracing is not None and passage.context is not None:
            make, told = self._tracing.begin(passage, request.head)
            end = told + end
        exchange = make(
            balancer,
            request_id,
            passage.head + end,
            request.body,
            passage.bodyless,
            prediction_id,
            recording,
        )
        exchange.repeatable = passage.repeatable
        if passage.deployment:
            exchange.deployment, exchange.named = passage.deployment, passage.named
        if recording is not None and recording.is_blocked:
            balancer.refuse(exchange, "capture_full", NO_ROOM)
        elif request.stream is None:
            balancer.submit(exchange)
        else:
            receiving = self._loop.create_task(
                self._receive(exchange, request.stream, passage, end)
            )
            self._receiving.add(receiving)
            receiving.add_done_callback(self._receiving.discard)
        return exchange

    @staticmethod
    def wants_stream(head: Head) -> bool:
        """Whether the body may be too large to be kept until it is whole."""
        return head.length is None or head.length > _KEPT_BODY

    async def _receive(
        self, exchange: Exchange, stream: AsyncIterator[bytes], passage: Passage, end: bytes
    ) -> None:
        """Wait for the beginning of a body; what is more than that is passed on as it comes."""
        parts, size = [], 0
        try:
            async for part in stream:
                parts.append(part)
                size += len(part)
                if size > _KEPT_BODY:
                    exchange.rest = stream
                    break
        except HttpError:
            return  # the server has told the client
        if exchange.settled:
            return  # the client has gone
        exchange.body = b"".join(parts)
        if not passage.is_framed:
            exchange.chunked = exchange.rest is not None
            framing = CHUNKED if exchange.chunked else length_field(size)
            exchange.head = passage.head + framing + end
        passage.balancer.submit(exchange)

    def _passage(self, head: Head) -> Passage | None:
        """What is remembered of a head, if it still holds."""
        passage: Passage | None = head.memo
        if passage is None or passage.epoch != self._epoch:
            return None
        return passage if passage.until == inf or passage.until > time.time() else None

    def _request_id(self, head: Head) -> bytes:
        return head.headers.get(b"x-request-id") or self._new_request_id()

    def _new_request_id(self) -> bytes:
        """Unique without a system call for each: a random part for this process, and a count."""
        self._count += 1
        return b"%b%016x" % (self._id_prefix, self._count)

    def _refuse(self, service: Service, head: Head, refusal: Response) -> Response:
        service.balancer.own.refused(refusal.status)
        if service.origins is not None:  # so that the page can read why
            refusal.headers += service.origins.fields(head.headers)
        return refusal

    def _unknown(self, service: Service, name: str, head: Head) -> Response:
        request_id = self._request_id(head)
        if service is self._nobody:
            message = f"there is no service `{name[:64]}` here"
            return own_answer(404, "not_found", message, request_id)
        message = f"service `{name}` needs {service.wants}"
        return own_answer(401, "unauthenticated", message, request_id, BEARER)

    def _without_deployment(self, service: Service, head: Head) -> Response:
        route = service.balancer.route
        asked = head.headers.get(DEPLOYMENT, b"").decode("latin-1")
        there = ", ".join(sorted({f"`{d.image}`" for d in route.deployments})) or "none yet"
        message = f"service `{route.name}` has no deployment `{asked[:100]}`; there is {there}"
        return own_answer(404, "not_found", message, self._request_id(head))

    def _own(self, path: str, request_id: bytes) -> Response:
        if path == "/livez":
            return Response(200, b'{"status":"live"}', [JSON])
        if path == "/readyz":
            if self.config_version and not self.draining:
                return Response(200, b'{"status":"ready"}', [JSON])
            message = "the gateway is ending" if self.draining else "it has no configuration yet"
            return own_answer(503, "unavailable", message, request_id)
        return own_answer(404, "not_found", "paths here begin with `/services/<name>/`", request_id)


def _counted(config: GatewayConfig) -> set[tuple[str, str]]:
    """What is counted apart: the answers of each deployment, and those of no replica."""
    own = {(route.name, OWN) for route in config.services}
    return own | {
        (route.name, up.deployment) for route in config.services for up in route.upstreams
    }


def _figures(config: GatewayConfig) -> ServiceRoute:
    """The agent, as a service with one replica."""
    agent = Upstream(socket=config.figures, deployment="", weight=1, replica="agent")
    return replace(
        _UNKNOWN,
        name="figures",
        scoring_timeout=_FIGURES_TIME,
        max_concurrent_requests=_FIGURES_AT_ONCE,
        upstreams=(agent,),
        unavailable="the agent of this host does not answer",
    )


def serve(gateway: Gateway, limits: Limits) -> Server:
    """The server of a gateway. Bodies stay in whatever coding they come."""
    return Server(gateway.handle, limits, gateway.admit, gateway.wants_stream, inflates=False)
