"""Warns before a certificate of the gateway, or what it knows clients by, ends.

Asked at every look at the gateway; files are read when they change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from modelyard.agent.gateway.config import Certificate, ClientFiles
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.expiry import Life

Read = Callable[[bytes], Iterable[Life]]

_END_OF_LIST = b"-----END X509 CRL-----"
_NEVER = datetime.max.replace(tzinfo=UTC)


class ExpiryWatch:
    """When the first of those in one PEM file ends.

    Args:
        path: The file.
        name: What it is, for the beginning of a sentence.
        read: Finds the lives in it.
        fix: What to do.
    """

    def __init__(self, path: Path, name: str, read: Read, fix: str) -> None:
        self._path = path
        self._name = name
        self._read = read
        self._fix = fix
        self._seen: tuple[int, int, int] | None = None
        self._life: Life | None = None

    def notice(self, now: datetime) -> Cause | None:
        """What callers should know at this time (UTC); None while there is time."""
        life = self._look()
        told = life.told(now) if life is not None else ""
        if not told:
            return None
        return Cause(
            code=CauseCode.CERTIFICATE_EXPIRES,
            message=f"{self._name} {told}.",
            evidence=(f"file: {self._path}",),
            fix=self._fix,
        )

    def _look(self) -> Life | None:
        try:
            facts = self._path.stat()
            seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if seen != self._seen:
                self._life = min(self._read(self._path.read_bytes()), key=lambda life: life.ends)
                self._seen = seen
        except (OSError, ValueError):
            return self._life  # the gateway says what is wrong with it
        return self._life


def watch_certificate(certificate: Certificate | None) -> tuple[ExpiryWatch, ...]:
    """What is to be watched for all who come to a gateway."""
    if certificate is None:
        return ()
    fix = "Put a new one and its key in the place of the files: the gateway takes them without a "
    fix += "restart."
    return (ExpiryWatch(Path(certificate.chain), "The gateway's certificate", lives, fix),)


def watch_clients(files: ClientFiles | None) -> tuple[ExpiryWatch, ...]:
    """What is to be watched for those who come with certificates."""
    if files is None:
        return ()
    fix = "Put a new one in the file: the gateway takes it without a restart."
    authorities = Path(files.authorities)
    watches = [ExpiryWatch(authorities, "The certificate of an authority of clients", lives, fix)]
    if files.revoked:
        name = "A list of revoked client certificates"
        watches.append(ExpiryWatch(Path(files.revoked), name, _lists, fix))
    return tuple(watches)


def lives(pem: bytes) -> list[Life]:
    """Those of the certificates in a file."""
    found = x509.load_pem_x509_certificates(pem)
    return [Life(one.not_valid_before_utc, one.not_valid_after_utc) for one in found]


def _lists(pem: bytes) -> list[Life]:
    parts = pem.split(_END_OF_LIST)[:-1]
    found = [x509.load_pem_x509_crl(part + _END_OF_LIST) for part in parts]
    return [Life(one.last_update_utc, one.next_update_utc or _NEVER) for one in found]
