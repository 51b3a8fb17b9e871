"""Certificates of your own for server and gateway; those of the workspace renew themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from modelyard.agent.doctor.finding import Finding, good, missing, poor
from modelyard.agent.expiry import lives
from modelyard.settings import Settings


def findings(settings: Settings) -> Iterator[Finding]:
    """Those that there are."""
    for whose, certificate in (
        ("server", settings.server_certificate),
        ("gateway", settings.gateway_certificate),
    ):
        if isinstance(certificate, Path):
            yield end(f"{whose} certificate", certificate, datetime.now(UTC))


def end(name: str, path: Path, now: datetime) -> Finding:
    """When a certificate ends, or one of those that lead to its authority."""
    try:
        first = min(lives(path.read_bytes()), key=lambda life: life.ends)
    except (OSError, ValueError) as error:
        return missing(name, f"{path}: {error}", "Put a certificate there, as PEM.")
    told = first.told(now)
    if told:
        return poor(name, told, f"Put a new one and its key in the place of {path}.")
    return good(name, f"good until {first.ends:%Y-%m-%d}")
