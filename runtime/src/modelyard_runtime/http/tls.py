"""TLS for the server core: certificates from PEM files, taken anew when the files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard_runtime.http.messages import Peer

_log = logging.getLogger("modelyard.http")

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption. TLS 1.3 has no others."""
_LOOK_INTERVAL = 1.0
"""Seconds between two looks at the files."""

Version = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the PEM files are."""

    certificate: Path
    """The server's certificate, followed by those that lead to the authority."""
    key: Path
    """Its private key, without a passphrase."""
    client_authorities: Path | None = None
    """Certificates of the authorities that clients must show a certificate of; None: of nobody."""
    revoked: Path | None = None
    """Lists of certificates revoked by those authorities: then one is needed from each, in date."""
    client_optional: bool = False
    """Clients may as well show no certificate; one that they show must be good."""


class Tls:
    """The TLS context of a server. Connections keep the one that they began with.

    Raises:
        OSError: A file cannot be read.
        ssl.SSLError: A file does not hold what it should, or the key is another certificate's.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._version = self._look()
        self.context = _context(files)
        """For the next connection."""
        self._next_look = 0.0
        self._failure = ""

    def refresh(self, now: float) -> None:
        """Read the files again if they have changed; keep what there is while they are no good.

        `now` is the time of a monotonic clock, in seconds.
        """
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_INTERVAL
        try:
            version = self._look()
            if version == self._version:
                return
            self.context = _context(self._files)
        except (OSError, ssl.SSLError) as error:  # perhaps one file of two is written so far
            if str(error) != self._failure:
                _log.error("the TLS certificate stays the old one: %s", error)
            self._failure = str(error)
            return
        self._version = version
        self._failure = ""

    def _look(self) -> Version:
        return tuple(
            (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            for facts in (path.stat() for path in _paths(self._files))
        )


def peer_of(transport: asyncio.BaseTransport) -> Peer | None:
    """Who is at the other end, if the client has shown a certificate."""
    certificate: dict[str, Any] = transport.get_extra_info("peercert") or {}
    if not certificate:
        return None
    subject = {name: value for part in certificate.get("subject", ()) for name, value in part}
    der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return Peer(subject, tuple(certificate.get("subjectAltName", ())), der)


def _paths(files: TlsFiles) -> Iterator[Path]:
    yield files.certificate
    yield files.key
    if files.client_authorities is not None:
        yield files.client_authorities
    if files.revoked is not None:
        yield files.revoked


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    # A key with a passphrase is refused: without one here, OpenSSL would ask at a terminal.
    context.load_cert_chain(files.certificate, files.key, password="")
    if files.client_authorities is not None:
        context.verify_mode = ssl.CERT_OPTIONAL if files.client_optional else ssl.CERT_REQUIRED
        context.load_verify_locations(files.client_authorities)
    if files.revoked is not None:
        context.load_verify_locations(files.revoked)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context
