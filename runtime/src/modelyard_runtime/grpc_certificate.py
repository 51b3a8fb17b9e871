"""The certificate of a replica for its gRPC server, taken anew when its files change."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import grpc

from modelyard_runtime.config import Tls


def credentials(tls: Tls) -> Any:
    """What gRPC wants of a server's certificate; the files are looked at when a client connects.

    Raises:
        OSError: A file cannot be read.
    """
    certificate = _Certificate(tls)
    return grpc.dynamic_ssl_server_credentials(
        certificate.read(), certificate.renewed, require_client_authentication=bool(tls.client_ca)
    )


class _Certificate:
    """A certificate that is read again once its files have changed. Called by threads of gRPC."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._version = self._look()

    def read(self) -> Any:
        """The certificate as gRPC wants it. Raises `OSError`."""
        authority = _bytes(self._tls.client_ca) if self._tls.client_ca else None
        pair = (_bytes(self._tls.key), _bytes(self._tls.cert))
        return grpc.ssl_server_certificate_configuration([pair], authority)

    def renewed(self) -> Any:
        """The certificate if it is another one than before, else None: the old one stays."""
        with suppress(OSError):  # perhaps a file is being replaced
            version = self._look()
            if version != self._version:
                renewed = self.read()
                self._version = version
                return renewed
        return None

    def _look(self) -> list[tuple[int, int]]:
        paths = filter(None, (self._tls.cert, self._tls.key, self._tls.client_ca))
        return [(facts.st_ino, facts.st_mtime_ns) for facts in map(os.stat, paths)]


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
