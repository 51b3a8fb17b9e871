"""What this host can do and what is missing, for `modelyard doctor`: tried, not guessed."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.agent.doctor import certificates, folders, machine, reach
from modelyard.agent.doctor.finding import Finding, Grade
from modelyard.settings import Settings

__all__ = ["Finding", "Grade", "examine"]


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at one thing after the other; some take seconds.

    Args:
        settings: Those that the server and the agent of this host have.
    """
    yield from machine.findings(settings)
    yield from folders.findings(settings)
    yield from certificates.findings(settings)
    yield from reach.findings(settings)
