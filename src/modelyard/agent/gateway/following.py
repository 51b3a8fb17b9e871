"""Follows the configuration file of a gateway; each of its processes does, for itself.

What is known holds when the file is damaged, or gone: a process that is forked knows it, too.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelyard.agent.gateway.clients import Clients
from modelyard.agent.gateway.config import GatewayConfig, read_config
from modelyard.agent.gateway.securing import Unusable, load_tls, unusable
from modelyard.errors import IntegrityError
from modelyard_runtime.http.tls import Tls

_READ_AGAIN = 1.0  # seconds between attempts to read a configuration that cannot be read

_log = logging.getLogger("modelyard.gateway")


class Follower:
    """The configuration that is to be served.

    Attributes:
        config: The last good one; of version 0 before the first.
        tls: What connections begin with by that; None: plain HTTP.
        clients: Who may come by certificate.
        error: Why it is not the one in the file; None: it is.
        lacks: Why it has no usable certificate, as a `modelyard.domain.cause.Cause`; or None.
    """

    def __init__(self, path: Path) -> None:
        self.config = GatewayConfig(0)
        self.tls: Tls | None = None
        self.clients = Clients()
        self.error: str | None = None
        self.lacks: dict[str, Any] | None = None
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._again = 0.0

    def look(self, now: float) -> bool:
        """Whether there is another one now, or the files about clients say something else.

        `now` is the time of a monotonic clock, in seconds.
        """
        if self.tls is not None:
            self.tls.refresh(now)
        learned = self._look_at_clients(now)
        try:
            facts = os.stat(self._path)
        except OSError:
            return learned  # never written, or taken away: what is known still holds
        seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if seen == self._seen and (not self.error or now < self._again):
            return learned
        self._seen = seen
        self._again = now + _READ_AGAIN
        try:
            config = read_config(self._path)
            self._secure(config, now)
        except (IntegrityError, Unusable) as error:
            self._note(str(error))
            return learned
        self.config, self.error = config, None
        return True

    def _secure(self, config: GatewayConfig, now: float) -> None:
        """Begin further connections with what this says; those there are go on as they are.

        Raises:
            Unusable: Its certificate is no good; the one before, if there is one, stays.
        """
        self.lacks = None
        certificate, clients = config.certificate, self.clients
        if config.asked_clients != clients.files:
            clients = Clients(config.asked_clients)
            clients.refresh(now)
        before = self.config.certificate, self.clients
        if certificate is None:
            self.tls = None
        elif (certificate, clients) != before or self.tls is None:
            try:
                self.tls = load_tls(certificate, clients.files if clients.usable else None)
            except Unusable as error:
                self.lacks = unusable(certificate, error)
                raise
        self.clients = clients

    def _look_at_clients(self, now: float) -> bool:
        """Whether more or less is known of clients, which connections then begin with."""
        certificate = self.config.certificate
        if not self.clients.refresh(now) or certificate is None:
            return False
        with suppress(Unusable):  # the certificate itself is half written: `Tls` looks again
            self.tls = load_tls(certificate, self.clients.files)
        return True

    def _note(self, error: str) -> None:
        if error != self.error:
            _log.error("%s", error)
        self.error = error
