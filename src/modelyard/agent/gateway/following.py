"""Follows the configuration file of a gateway; each of its processes does, for itself.

What is known holds when the file is damaged, or gone: a process that is forked knows it, too.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from modelyard.agent.gateway.config import Certificate, GatewayConfig, read_config
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
        error: Why it is not the one in the file; None: it is.
        lacks: Why it has no usable certificate, as a `modelyard.domain.cause.Cause`; or None.
    """

    def __init__(self, path: Path) -> None:
        self.config = GatewayConfig(0)
        self.tls: Tls | None = None
        self.error: str | None = None
        self.lacks: dict[str, Any] | None = None
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._again = 0.0

    def look(self, now: float) -> bool:
        """Whether there is another one now.

        `now` is the time of a monotonic clock, in seconds.
        """
        if self.tls is not None:
            self.tls.refresh(now)
        try:
            facts = os.stat(self._path)
        except OSError:
            return False  # never written, or taken away: what is known still holds
        seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if seen == self._seen and (not self.error or now < self._again):
            return False
        self._seen = seen
        self._again = now + _READ_AGAIN
        try:
            config = read_config(self._path)
            self._secure(config.certificate)
        except (IntegrityError, Unusable) as error:
            self._note(str(error))
            return False
        self.config, self.error = config, None
        return True

    def _secure(self, certificate: Certificate | None) -> None:
        """Begin further connections with this certificate; those there are go on as they are.

        Raises:
            Unusable: It is no good; the one before, if there is one, stays.
        """
        self.lacks = None
        if certificate is None:
            self.tls = None
        elif certificate != self.config.certificate or self.tls is None:
            try:
                self.tls = load_tls(certificate)
            except Unusable as error:
                self.lacks = unusable(certificate, error)
                raise

    def _note(self, error: str) -> None:
        if error != self.error:
            _log.error("%s", error)
        self.error = error
