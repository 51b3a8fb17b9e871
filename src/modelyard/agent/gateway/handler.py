"""What a gateway does with a request: check the key, find the service, hand it to its balancer."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

from modelyard.agent.gateway.answers import BEARER, own_answer
from modelyard.agent.gateway.balancer import Balancer
from modelyard.agent.gateway.config import GatewayConfig, ServiceRoute
from modelyard.agent.gateway.forwarding import encode_request, split_path
from modelyard.agent.gateway.upstream import Exchange
from modelyard.domain.keys import ServiceKey, parse_key, verify_key
from modelyard_runtime.http import JSON, Request, Response


@dataclass(slots=True)
class Refusals:
    """Requests to one service that came without a right key."""

    count: int = 0
    last_at: float = 0.0
    """Seconds since 1970."""
    key_id: str | None = None
    """Public part of the key that came last; None when there was none or it is no key."""


class _Service:
    """One service: who may use it, and what answers for it."""

    __slots__ = ("balancer", "hashes", "open", "refusals")

    def __init__(self, route: ServiceRoute, loop: asyncio.AbstractEventLoop) -> None:
        self.refusals = Refusals()
        self.balancer = Balancer(route, loop)
        self._admit(route)

    def change(self, route: ServiceRoute) -> None:
        self._admit(route)
        self.balancer.change(route)

    def _admit(self, route: ServiceRoute) -> None:
        self.open = route.auth == "none"
        self.hashes = {key.id: key.hash for key in route.keys}


class Gateway:
    """Answers requests by the configuration applied last. Belongs to the running event loop."""

    def __init__(self) -> None:
        self.config_version = 0
        """Version of the configuration that is served; 0 before the first."""
        self.draining = False
        """On its way out: not ready for more."""
        self._loop = asyncio.get_running_loop()
        self._services: dict[str, _Service] = {}
        self._closed: list[Balancer] = []

    def apply(self, config: GatewayConfig) -> None:
        """Serve by another configuration from now on. Nothing in flight is dropped."""
        routes = {route.name: route for route in config.services}
        for name in self._services.keys() - routes.keys():
            balancer = self._services.pop(name).balancer
            balancer.close()
            self._closed.append(balancer)
        for name, route in routes.items():
            if name in self._services:
                self._services[name].change(route)
            else:
                self._services[name] = _Service(route, self._loop)
        self.config_version = config.version

    def refused(self) -> dict[str, Refusals]:
        """Refused requests by service, for services that had any."""
        return {
            name: service.refusals
            for name, service in self._services.items()
            if service.refusals.count
        }

    def draining_replicas(self) -> dict[str, int]:
        """Replicas that are out of the configuration and still have requests in flight."""
        self._closed = [balancer for balancer in self._closed if balancer.draining()]
        serving = [service.balancer for service in self._services.values()]
        return {
            replica: in_flight
            for balancer in serving + self._closed
            for replica, in_flight in balancer.draining().items()
        }

    @property
    def longest_request(self) -> float:
        """Seconds in which every request that is here now has been answered."""
        routes = [service.balancer.route for service in self._services.values()]
        return max((r.max_queue_wait + r.scoring_timeout for r in routes), default=0.0)

    def handle(self, request: Request) -> asyncio.Future[Response]:
        """Answer one request; the HTTP core calls this, and cancels when the client has gone."""
        answer: asyncio.Future[Response] = self._loop.create_future()
        request_id = request.headers.get(b"x-request-id") or os.urandom(16).hex().encode()
        place = split_path(request.path)
        if place is None:
            answer.set_result(self._own(request.path, request_id))
            return answer
        name, path = place
        service = self._services.get(name)
        refusal = self._refusal(request, name, service, request_id)
        if refusal is not None:
            answer.set_result(refusal)
        elif service is not None:
            head = encode_request(request, path, request_id)
            bodyless = request.method == "HEAD"
            balancer = service.balancer
            balancer.submit(Exchange(balancer, answer, request_id, head, request.body, bodyless))
        return answer

    def _refusal(
        self, request: Request, name: str, service: _Service | None, request_id: bytes
    ) -> Response | None:
        """The answer to those who may not come in. An unknown service costs what a known does."""
        if service is not None and service.open:
            return None
        key = _key_of(request)
        known = service.hashes.get(key.id) if service is not None and key is not None else None
        if verify_key(key or _NO_KEY, known) and key is not None:
            return None
        if service is None:
            message = f"there is no service `{name[:64]}` here"
            return own_answer(404, "not_found", message, request_id)
        refusals = service.refusals
        refusals.count += 1
        refusals.last_at = time.time()
        refusals.key_id = key.id if key is not None else None
        message = f"service `{name}` needs one of its keys: `Authorization: Bearer <key>`"
        return own_answer(401, "unauthenticated", message, request_id, BEARER)

    def _own(self, path: str, request_id: bytes) -> Response:
        if path == "/livez":
            return Response(200, b'{"status":"live"}', [JSON])
        if path == "/readyz":
            if self.config_version and not self.draining:
                return Response(200, b'{"status":"ready"}', [JSON])
            message = "the gateway is ending" if self.draining else "it has no configuration yet"
            return own_answer(503, "unavailable", message, request_id)
        return own_answer(404, "not_found", "paths here begin with `/services/<name>/`", request_id)


_NO_KEY = ServiceKey("0" * 16, "0" * 43)


def _key_of(request: Request) -> ServiceKey | None:
    field = request.headers.get(b"authorization")
    if field is None:
        return None
    scheme, _, text = field.decode("latin-1").partition(" ")
    return parse_key(text.strip()) if scheme.lower() == "bearer" else None
