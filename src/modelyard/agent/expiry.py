"""Warns of a gateway's certificate before it ends. Asked at every look at the gateway."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from modelyard.agent.gateway.config import Certificate
from modelyard.domain.cause import Cause, CauseCode

WARNINGS = (timedelta(days=1), timedelta(days=7), timedelta(days=30))
"""Before the end: the word changes at each, so that each is news."""

Version = tuple[int, int, int]


class ExpiryWatch:
    """When one certificate ends; its file is read when it changes."""

    def __init__(self, certificate: Certificate | None) -> None:
        self._path = Path(certificate.chain) if certificate else None
        self._seen: Version | None = None
        self._ends: datetime | None = None

    def notice(self, now: datetime) -> Cause | None:
        """What callers should know at this time (UTC); None while there is time."""
        ends = self._look()
        if ends is None:
            return None
        within = next((left for left in WARNINGS if ends - now <= left), None)
        if within is None:
            return None
        over = ends <= now
        when = "has ended" if over else f"ends within {within.days} day{'s' * (within.days > 1)}"
        return Cause(
            code=CauseCode.CERTIFICATE_EXPIRES,
            message=f"The gateway's certificate {when}: on {ends:%Y-%m-%d at %H:%M} UTC.",
            evidence=(f"certificate: {self._path}",),
            fix="Put a new one and its key in the place of the files: the gateway takes them "
            "without a restart.",
        )

    def _look(self) -> datetime | None:
        if self._path is None:
            return None
        try:
            facts = self._path.stat()
            seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if seen != self._seen:
                chain = x509.load_pem_x509_certificates(self._path.read_bytes())
                self._ends = min(one.not_valid_after_utc for one in chain)
                self._seen = seen
        except (OSError, ValueError):
            return self._ends  # the gateway says what is wrong with it
        return self._ends
