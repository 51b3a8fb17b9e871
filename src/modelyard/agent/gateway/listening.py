"""Where a gateway listens: which port, whether it is free, and what to say when it is not."""

from __future__ import annotations

import errno
import logging
import socket
from pathlib import Path
from typing import Any

from modelyard.files import replace_file

_BACKLOG = 4096

_log = logging.getLogger("modelyard.gateway")


class Address:
    """A host and a port; port 0 becomes a free one, which is remembered in `memory`."""

    def __init__(self, host: str, port: int, memory: Path) -> None:
        self.host = host
        self._wanted = port
        self._memory = memory

    @property
    def port(self) -> int:
        """The port to listen on; 0 when any free one will do."""
        return self._wanted or self._remembered()

    @property
    def wanted(self) -> tuple[str, int]:
        """Host and port, as they were asked for."""
        return self.host, self._wanted

    def url(self, port: int, *, secure: bool = False) -> str:
        """How callers on this host reach it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if secure else 'http'}://{host}:{port}"

    def listen(self) -> socket.socket:
        """A listening socket.

        Raises:
            OSError: The port is taken, or the host is not an address of this machine.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
        if not self.port:
            self._remember(listener.getsockname()[1])
        return listener

    def explain(self, error: OSError) -> dict[str, Any]:
        """Why it does not listen, as a `modelyard.domain.cause.Cause`."""
        place = f"port {self.port} of {self.host}"
        evidence = [f"{error.strerror or error} (errno {error.errno})"]
        if error.errno == errno.EADDRINUSE:
            return {
                "code": "port_taken",
                "message": f"the gateway cannot listen: {place} is in use by another program",
                "evidence": evidence,
                "fix": f"end that program: the gateway takes the port as soon as it is free; "
                f"or choose another port with MODELYARD_GATEWAY_PORT{self._forget_hint()}",
            }
        return {
            "code": "internal",
            "message": f"the gateway cannot listen on {place}: {error.strerror or error}",
            "evidence": evidence,
            "fix": "set MODELYARD_GATEWAY_HOST to an address of this machine and "
            "MODELYARD_GATEWAY_PORT to a port that this user may take",
        }

    def _remember(self, port: int) -> None:
        try:
            replace_file(self._memory, f"{port}\n")
        except OSError as error:  # worth less than serving
            _log.error("port %d will be another one after a restart: %s", port, error)

    def _remembered(self) -> int:
        try:
            port = int(self._memory.read_text())
        except (OSError, ValueError):
            return 0
        return port if 0 < port < 65536 else 0

    def _forget_hint(self) -> str:
        return "" if self._wanted else f"; or delete {self._memory} to take any free one"
