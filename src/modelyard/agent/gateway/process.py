"""The gateway's process: one per folder; listens, follows its configuration, reports, drains."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import resource
import signal
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from modelyard.agent.gateway import files
from modelyard.agent.gateway.config import Certificate, read_config
from modelyard.agent.gateway.counters import open_counters
from modelyard.agent.gateway.handler import Gateway, serve
from modelyard.agent.gateway.listening import Address
from modelyard.agent.gateway.loads import LoadFile
from modelyard.agent.gateway.securing import Unusable, load_tls, unusable
from modelyard.agent.gateway.status import GatewayStatus, RefusedRequests, StatusFile
from modelyard.errors import Conflict, IntegrityError
from modelyard_runtime.http.server import Limits

_TICK = 0.05  # seconds between looks at the configuration file; SIGHUP makes it look at once
_TICKS_PER_REPORT = 2
_LISTEN_AGAIN = 1.0  # seconds between attempts to listen where something else does
_READ_AGAIN = 1.0  # seconds between attempts to read a configuration that cannot be read
_CONNECTIONS = 8192  # most connections of callers; each may need one to a replica as well
_OTHER_FILES = 64

_log = logging.getLogger("modelyard.gateway")


def lock_folder(folder: Path) -> IO[str]:
    """Become the one gateway of a folder, as long as the returned file is open.

    Raises:
        Conflict: A gateway already runs there.
    """
    lock = (folder / files.LOCK).open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Conflict(f"a gateway already runs for `{folder}`") from None
    return lock


class Process:
    """Everything about a gateway that is not a request."""

    def __init__(self, folder: Path, address: Address) -> None:
        self._address = address
        self._config = folder / files.CONFIG
        self._config_seen: tuple[int, ...] | None = None
        self._config_error: str | None = None
        self._config_again = 0.0
        self._gateway = Gateway(open_counters(folder / files.COUNTERS / "0"))
        self._server = serve(self._gateway, Limits(connections=_room_for_connections()))
        self._status = StatusFile(folder / files.STATUS)
        self._loads = LoadFile(folder / files.LOADS)
        self._pid = os.getpid()
        self._started_at = datetime.now(UTC).isoformat()
        self._certificate: Certificate | None = None
        self._lacks_certificate = False
        self._port = 0
        self._cause: dict[str, Any] | None = None
        self._ending = asyncio.Event()
        self._cut = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM, then finish what is in flight; a second SIGTERM cuts that short."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end)
        loop.add_signal_handler(signal.SIGINT, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._follow_config)
        self._follow_config()  # before anybody can ask in the clear what is to be asked by TLS
        following = loop.create_task(self._follow())
        listener = await self._listen()
        await self._ending.wait()
        self._gateway.draining = True
        if listener is not None:
            await self._drain(listener)
        following.cancel()
        self._port = 0
        self._publish()

    async def _listen(self) -> socket.socket | None:
        """Listen as soon as that is possible; None when the end comes first."""
        while not self._ending.is_set():
            listener = None if self._lacks_certificate else self._bind()
            if listener is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), _LISTEN_AGAIN)
                continue
            await self._server.start(listener, self._server.tls)
            self._port = listener.getsockname()[1]
            self._cause = None
            self._publish()
            return listener
        return None

    def _bind(self) -> socket.socket | None:
        """The listening socket; None while the address is taken."""
        try:
            return self._address.listen()
        except OSError as error:
            self._cause = self._address.explain(error)
            return None

    async def _drain(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        draining = loop.create_task(self._server.drain(self._gateway.longest_request))
        cut = loop.create_task(self._cut.wait())
        await asyncio.sleep(0)  # the server has let go of the listener
        listener.close()  # from here on callers are told at once that nobody listens
        await asyncio.wait([draining, cut], return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        cut.cancel()

    async def _follow(self) -> None:
        while True:
            self._publish()
            for _ in range(_TICKS_PER_REPORT):
                self._follow_config()
                self._tell_loads()
                await asyncio.sleep(_TICK)

    def _follow_config(self) -> None:
        """Serve by the configuration file if it is another one; a damaged one changes nothing."""
        try:
            facts = os.stat(self._config)
        except OSError:
            return  # never written, or taken away: what is known still holds
        seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        now = asyncio.get_running_loop().time()
        if seen == self._config_seen and (not self._config_error or now < self._config_again):
            return
        self._config_seen = seen
        self._config_again = now + _READ_AGAIN
        try:
            config = read_config(self._config)
            self._secure(config.certificate)
            self._gateway.apply(config)
            self._config_error = None
            self._publish()
        except (IntegrityError, Unusable) as error:
            if str(error) != self._config_error:
                _log.error("%s", error)
            self._config_error = str(error)

    def _secure(self, certificate: Certificate | None) -> None:
        """Begin further connections with this certificate; those there are go on as they are.

        Without one that can be used nobody may connect, lest keys are sent in the clear.

        Raises:
            Unusable: It is no good; the one before, if there is one, stays.
        """
        if certificate is not None and certificate != self._certificate:
            try:
                self._server.tls = load_tls(certificate)
            except Unusable as error:
                if not self._port:
                    self._lacks_certificate, self._cause = True, unusable(certificate, error)
                raise
        elif certificate is None:
            self._server.tls = None
        self._certificate, self._lacks_certificate = certificate, False

    def _tell_loads(self) -> None:
        loads = self._gateway.loads()
        if loads:
            self._loads.publish(loads)

    def _publish(self) -> None:
        secure = self._certificate is not None
        status = GatewayStatus(
            pid=self._pid,
            started_at=self._started_at,
            url=self._address.url(self._port, secure=secure) if self._port else None,
            config_version=self._gateway.config_version,
            config_error=self._config_error,
            cause=self._cause,
            refused={
                name: RefusedRequests(
                    refusals.count,
                    datetime.fromtimestamp(refusals.last_at, UTC).isoformat(),
                    refusals.key_id,
                )
                for name, refusals in self._gateway.refused().items()
            },
            draining=self._gateway.draining_replicas(),
        )
        self._status.publish(status, asyncio.get_running_loop().time())

    def _end(self) -> None:
        if self._ending.is_set():
            self._cut.set()
        self._ending.set()


def _room_for_connections() -> int:
    """How many connections this process may have, once it has all the descriptors it can get."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _CONNECTIONS
    return max(min(_CONNECTIONS, (soft - _OTHER_FILES) // 2), 1)
