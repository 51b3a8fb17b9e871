"""What a service was asked to be, one change after the other, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from modelyard.domain.service import ServiceSettings
from modelyard.domain.values import Value


class ChangeOutcome(StrEnum):
    """What became of a change."""

    PENDING = "Pending"
    SERVED = "Served"
    """It was reached: its replicas answered."""
    FAILED = "Failed"
    """It was never reached; what had served before went on."""
    SUPERSEDED = "Superseded"
    """A newer change took its place before it was reached."""


class ServiceChange(Value):
    """One accepted change of a service."""

    generation: int
    """Of the service, which it made."""
    image: str
    """`name:version`."""
    settings: ServiceSettings
    at: datetime
    by: str
    """Who asked for it; empty where the platform went back by itself."""
    outcome: ChangeOutcome
    reason: str = ""
    """Why it failed, or why the platform made it."""


def altered(after: ServiceChange, before: ServiceChange | None) -> tuple[str, ...]:
    """The settings that a change altered, such as `replicas 1 -> 2`; none for the first one."""
    if before is None:
        return ()
    old, new = (change.settings.model_dump(mode="json") for change in (before, after))
    return tuple(f"{name} {old[name]} -> {new[name]}" for name in new if new[name] != old[name])


def former(
    history: Sequence[ServiceChange], image: str, settings: ServiceSettings
) -> ServiceChange | None:
    """The newest change that served something else than this; None when there is none.

    Args:
        history: Newest first.
        image: What is wanted now, `name:version`.
        settings: What is wanted now.
    """
    return next(
        (
            change
            for change in history
            if change.outcome is ChangeOutcome.SERVED
            and (change.image, change.settings) != (image, settings)
        ),
        None,
    )
