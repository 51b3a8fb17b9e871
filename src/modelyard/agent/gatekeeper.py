"""Keeps the gateway process of this host running, gives it its document, reads its status.

The gateway outlives the agent: a new agent finds it by the lock in its folder.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

import modelyard
from modelyard.agent.backoff import Backoff
from modelyard.agent.detached import start_detached
from modelyard.agent.expiry import watch_certificate, watch_clients
from modelyard.agent.gateway import REPLACE, files
from modelyard.agent.gateway.config import (
    Certificate,
    ClientFiles,
    GatewayConfig,
    ServiceRoute,
    read_config,
    write_config,
)
from modelyard.agent.gateway.counters import Figures, read_counters
from modelyard.agent.gateway.loads import read_loads
from modelyard.agent.gateway.shadow import compared
from modelyard.agent.gateway.status import GatewayStatus, RefusedRequests, read_status
from modelyard.agent.home import is_locked
from modelyard.agent.world import GatewayView
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.observed import ObservedGateway
from modelyard.domain.service import Comparison
from modelyard.errors import IntegrityError

log = logging.getLogger(__name__)

MODULE = "modelyard.agent.gateway"
"""Module of the gateway, by which its process is told from others."""

LOG = "gateway.log"
_RECENT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Access:
    """How callers come to a gateway."""

    host: str = "127.0.0.1"
    """Address that it listens on."""
    port: int = 0
    """Port that it listens on; 0 takes a free one and keeps it."""
    name: str = ""
    """Host name by which callers reach it; empty: by its address."""
    certificate: Certificate | None = None
    """What it speaks TLS with; None: it speaks plain HTTP."""
    processes: int = 2
    """How many processes share the port."""
    clients: ClientFiles | None = None
    """By what it knows callers who have certificates of their own."""


class Gatekeeper:
    """The agent's side of the gateway.

    Args:
        folder: The gateway's.
        access: How callers come to it.
        clock: Monotonic seconds.
        figures: Unix socket on which the agent tells the figures of services.
    """

    def __init__(
        self, folder: Path, access: Access, clock: Callable[[], float], figures: str = ""
    ) -> None:
        self._folder = folder
        self._figures = figures
        self._access = access
        self._watches = watch_certificate(access.certificate)
        self._client_watches = watch_clients(access.clients)
        self._clock = clock
        self._starts = Backoff(0.1, 10.0)
        self._child: subprocess.Popen[bytes] | None = None
        self._config = self._read_config()

    def ensure(self) -> None:
        """Start the gateway when none runs, or when the one that does is not the wanted one.

        That hands over to the new one, so that callers notice nothing; where the new one cannot
        serve as well, the old one stays. Returns at once, safe to repeat.
        """
        runs = self.running
        if self._starting or (runs and not self._outdated):
            return
        now = self._clock()
        if self._starts.due(now):
            self._starts.failed(now)
            self._start(*(REPLACE,) if runs else ())

    @property
    def running(self) -> bool:
        """Whether a gateway lives, whoever started it."""
        if self._child is not None and self._child.poll() is None:
            return True
        return is_locked(self._folder / files.LOCK)

    @property
    def _starting(self) -> bool:
        """Whether the one that was started last is not the gateway yet."""
        child = self._child
        if child is None or child.poll() is not None:
            return False
        status = self._status()
        return status is None or status.pid != child.pid

    @property
    def _outdated(self) -> bool:
        """Whether the gateway is of another version, or was started with other settings."""
        status = self._status()
        if status is None or not status.version:  # so old that it cannot hand over
            return False
        return (status.version, status.arguments) != (modelyard.__version__, self._arguments())

    def look(self) -> tuple[GatewayView, ObservedGateway, dict[str, Cause]]:
        """What it serves, where it listens, and what callers of services should know, by name."""
        status = self._status() if self.running else None
        certificate, clients = self._access.certificate, self._access.clients
        if status is None:
            view = GatewayView(self._config, None, certificate, self._figures, clients)
            return view, ObservedGateway(), {}
        if status.url is not None and not self._outdated:
            self._starts.succeeded()
        view = GatewayView(self._config, status.config_version, certificate, self._figures, clients)
        routes = {route.name: route for route in self._config.services}
        notices = self._expiry_notices()
        notices |= {
            name: _notice(routes[name], refused)
            for name, refused in _recent(status).items()
            if name in routes
        }
        refusal = self._refusal() if self._outdated else None
        if refusal is not None:
            notices |= dict.fromkeys(routes, refusal)
        if status.clients_error and clients is not None:
            cause = _clients_unusable(clients, status.clients_error)
            notices |= {route.name: cause for route in routes.values() if route.auth == "cert"}
        return view, ObservedGateway(url=self._url(status), cause=_cause(status)), notices

    def loads(self) -> dict[str, int]:
        """Requests busy or waiting, of the services that are scaled by them."""
        return read_loads(self._folder / files.LOADS) if self.running else {}

    def comparisons(self) -> dict[UUID, Comparison]:
        """What the answers of candidates are like that are shadows, by deployment."""
        shadows = [route for route in self._config.services if route.shadow and route.candidate]
        figures = read_counters(self._folder / files.COUNTERS) if shadows else {}
        return {
            UUID(route.candidate): Comparison(**compared(figures, route.name, route.candidate))
            for route in shadows
        }

    def counted(self) -> dict[tuple[str, str], Figures]:
        """What became of requests, by service and deployment, whether or not it runs."""
        return read_counters(self._folder / files.COUNTERS)

    def configure(self, config: GatewayConfig) -> None:
        """Give the gateway another document."""
        write_config(self._folder / files.CONFIG, config)
        self._config = config

    def _expiry_notices(self) -> dict[str, Cause]:
        """What is about to end, by the services that it matters to."""
        now = datetime.now(UTC)
        routes = self._config.services
        notices: dict[str, Cause] = {}
        for watches, names in (
            (self._client_watches, [route.name for route in routes if route.auth == "cert"]),
            (self._watches, [route.name for route in routes]),
        ):
            told = next(filter(None, (watch.notice(now) for watch in watches)), None)
            if told is not None:
                notices |= dict.fromkeys(names, told)
        return notices

    def _url(self, status: GatewayStatus) -> str | None:
        """How callers reach it."""
        if status.url is None or not self._access.name:
            return status.url
        scheme, _, place = status.url.partition("://")
        return f"{scheme}://{self._access.name}:{place.rpartition(':')[2]}"

    def _status(self) -> GatewayStatus | None:
        return read_status(self._folder / files.STATUS)

    def _refusal(self) -> Cause | None:
        """Why the gateway that runs could not be replaced by the wanted one; None: nothing said so.

        One that has taken over since has removed it.
        """
        try:
            return Cause.model_validate_json((self._folder / files.REFUSAL).read_bytes())
        except (OSError, ValidationError):
            return None

    def _arguments(self) -> tuple[str, ...]:
        access = self._access
        where = ("--dir", str(self._folder), "--host", access.host, "--port", str(access.port))
        return (*where, "--processes", str(access.processes))

    def _start(self, *options: str) -> None:
        command = [sys.executable, "-P", "-m", MODULE, *self._arguments(), *options]
        self._child = start_detached(command, self._folder, self._folder / LOG)
        log.info("gateway started as process %d", self._child.pid)

    def _read_config(self) -> GatewayConfig:
        path = self._folder / files.CONFIG
        if not path.exists():
            return GatewayConfig(0)
        try:
            return read_config(path)
        except IntegrityError as error:
            log.error("%s", error.message)
            return GatewayConfig(0)


def _cause(status: GatewayStatus) -> Cause | None:
    if status.cause is None:
        return None
    try:
        return Cause.model_validate(status.cause)
    except ValidationError:
        return Cause(code=CauseCode.INTERNAL, message=str(status.cause))


def _recent(status: GatewayStatus) -> dict[str, RefusedRequests]:
    since = datetime.now(UTC) - _RECENT
    return {
        name: refused
        for name, refused in status.refused.items()
        if datetime.fromisoformat(refused.last_at) > since
    }


def _clients_unusable(clients: ClientFiles, problem: str) -> Cause:
    return Cause(
        code=CauseCode.CERTIFICATE_UNUSABLE,
        message=f"the gateway cannot use its list of authorities of clients, or of revoked "
        f"certificates: {problem}",
        evidence=tuple(filter(None, (clients.authorities, clients.revoked))),
        fix="put PEM files there that this user may read: the gateway looks for them all the time, "
        "and goes by what they said before",
    )


def _notice(route: ServiceRoute, refused: RefusedRequests) -> Cause:
    service = route.name
    if route.auth == "cert":
        return _certificate_refused(service, refused)
    last = f"with key id `{refused.key_id}`" if refused.key_id else "without a key"
    return Cause(
        code=CauseCode.KEY_REFUSED,
        message=f"`{service}` is ready, but refused requests that had no valid key or token: "
        f"{refused.count} so far, the last one {last}.",
        evidence=(_last(refused),),
        fix=f"Compare the caller's key with `modelyard service keys show {service}`; where callers "
        f"need a token, `modelyard service token {service}` makes one.",
    )


def _last(refused: RefusedRequests) -> str:
    at = datetime.fromisoformat(refused.last_at)
    return f"last refused at {at:%Y-%m-%d %H:%M:%S} UTC"


def _certificate_refused(service: str, refused: RefusedRequests) -> Cause:
    last = f"came from `{refused.client}`" if refused.client else "showed none that is good"
    return Cause(
        code=CauseCode.CERTIFICATE_REFUSED,
        message=f"`{service}` is ready, but refused requests without a client certificate that it "
        f"takes: {refused.count} so far, and the last one {last}.",
        evidence=(_last(refused),),
        fix=f"`modelyard service certificates issue {service} CLIENT` makes one; or add a name "
        f"of the caller's with `modelyard service update {service} --client NAME`.",
    )
