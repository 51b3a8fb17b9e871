"""Whom the gateway knows by certificate: those of certain authorities, unless they are revoked.

When a connection began, TLS has seen that the caller has the key, and the certificate's chain and
purpose. What may change while it is open is asked here with every request: the authorities and
their lists of revoked certificates, whose files are followed, and the time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from modelyard.agent.gateway.config import ClientFiles
from modelyard.domain.clients import names_of
from modelyard_runtime.http.server import Peer

_LOOK_INTERVAL = 0.25
"""Seconds between two looks at the files."""

_END = b"-----END X509 CRL-----"

Parsed = TypeVar("Parsed")

_log = logging.getLogger("modelyard.gateway")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a caller is, or why that is not known."""

    names: tuple[str, ...] = ()
    """As `modelyard.domain.clients.names_of`."""
    problem: str = ""
    """Why the certificate is not taken; empty when it is."""
    until: float = inf
    """Seconds since 1970 until which that holds."""


STRANGER = Identity(problem="none was shown")


class Clients:
    """Who may come by certificate at all.

    Args:
        files: Authorities and revoked certificates; None: nobody may.
    """

    def __init__(self, files: ClientFiles | None = None) -> None:
        self.files = files
        self.problem = ""
        """Why the files cannot be used; what they said before still holds."""
        self._paths = [Path(p) for p in (files.authorities, files.revoked) if p] if files else []
        self._seen: object = None
        self._next_look = 0.0
        self._known = _Known((), (), lists=False)

    @property
    def usable(self) -> bool:
        """There are authorities, so that callers may be asked for certificates."""
        return bool(self._known.authorities)

    def refresh(self, now: float) -> bool:
        """Read the files again if they have changed; whether anything is known anew.

        `now` is the time of a monotonic clock, in seconds.
        """
        if not self._paths or now < self._next_look:
            return False
        self._next_look = now + _LOOK_INTERVAL
        try:
            seen = tuple((f.st_ino, f.st_mtime_ns, f.st_size) for f in map(Path.stat, self._paths))
            if seen == self._seen:
                return False
            self._known = _read(self._paths)
        except (OSError, ValueError) as error:
            self._complain(str(error))
            return False
        self._seen, self.problem = seen, ""
        return True

    def identify(self, peer: Peer | None) -> Identity:
        """Who a caller is at this moment."""
        if peer is None:
            return STRANGER
        if peer.memo is None or peer.memo[0] is not self._known:
            peer.memo = self._known, self._known.identify(peer)
        identity: Identity = peer.memo[1]
        if identity.until <= time.time():
            return Identity(problem="it has ended, or the list of revoked ones has")
        return identity

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            _log.error("the authorities of clients stay as they were: %s", problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class _Known:
    """What the files said at one time."""

    authorities: tuple[x509.Certificate, ...]
    revoked: tuple[x509.CertificateRevocationList, ...]
    lists: bool
    """There must be a list of each authority."""

    def identify(self, peer: Peer) -> Identity:
        certificate = x509.load_der_x509_certificate(peer.certificate)
        if not any(_issued(certificate, authority) for authority in self.authorities):
            return Identity(problem="its issuer is not among the authorities of clients")
        until = certificate.not_valid_after_utc.timestamp()
        if self.lists:
            lists = [one for one in self.revoked if one.issuer == certificate.issuer]
            if not lists:
                return Identity(problem="its issuer has no list of revoked certificates here")
            serial = certificate.serial_number
            if any(one.get_revoked_certificate_by_serial_number(serial) for one in lists):
                return Identity(names_of(peer.names), "it has been revoked")
            until = min(until, *(_end(one) for one in lists))
        return Identity(names_of(peer.names), until=until)


def _read(paths: list[Path]) -> _Known:
    """What the files say.

    Raises:
        OSError: One cannot be read.
        ValueError: One does not hold what it should; the message names it.
    """
    authorities = _parsed(paths[0], x509.load_pem_x509_certificates)
    issuers = {authority.subject for authority in authorities}
    lists = [one for path in paths[1:] for one in _parsed(path, _lists) if one.issuer in issuers]
    if not all(any(_signed(one, authority) for authority in authorities) for one in lists):
        raise ValueError(f"{paths[1]} has a list that its authority has not signed")
    return _Known(tuple(authorities), tuple(lists), lists=len(paths) > 1)


def _lists(pem: bytes) -> list[x509.CertificateRevocationList]:
    *parts, rest = pem.split(_END)
    if rest.strip():
        raise ValueError("what follows the last list is none")
    return [x509.load_pem_x509_crl(part + _END) for part in parts]


def _parsed(path: Path, parse: Callable[[bytes], list[Parsed]]) -> list[Parsed]:
    try:
        return parse(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} does not hold what it should: {error}") from error


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _signed(revoked: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    try:
        return revoked.issuer == authority.subject and revoked.is_signature_valid(key)  # type: ignore[arg-type]
    except TypeError:  # a kind of key that signs nothing
        return False


def _end(revoked: x509.CertificateRevocationList) -> float:
    return revoked.next_update_utc.timestamp() if revoked.next_update_utc else inf
