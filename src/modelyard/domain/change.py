"""What a service was asked to be, one change after the other, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from modelyard.domain.cause import Cause
from modelyard.domain.service import Deployment, ServiceSettings, setting_text
from modelyard.domain.values import Value


class ChangeOutcome(StrEnum):
    """What became of a change."""

    PENDING = "Pending"
    SERVED = "Served"
    """It was reached: its replicas answered."""
    FAILED = "Failed"
    """It was never reached, or served and was worse; what had served before went on."""
    SUPERSEDED = "Superseded"
    """A newer change took its place before it was reached."""


class ServiceChange(Value):
    """One accepted change of a service."""

    generation: int
    """Of the service, which it made."""
    image: str
    """`name:version`."""
    settings: ServiceSettings
    traffic: dict[str, int] = {}
    """Shares of the images in percent, where several were to serve; empty: `image` alone."""
    rollout: str = ""
    """How it was to get there, such as `canary 10 %`; empty: all of the traffic at once."""
    at: datetime
    by: str
    """Who asked for it; empty where the platform went back by itself."""
    outcome: ChangeOutcome
    reason: str = ""
    """Why it failed, or why the platform made it."""
    cause: Cause | None = None
    """What it failed for, with what was seen and the fix; null where it did not."""


def split_traffic(deployments: Iterable[Deployment]) -> dict[str, int]:
    """The shares of images that serve together; empty where one serves alone."""
    shares = {d.image: d.weight for d in deployments if d.weight}
    return shares if len(shares) > 1 else {}


def traffic_text(shares: Mapping[str, int]) -> str:
    """Images with their shares, `digits:3 80 %, digits:4 20 %`; one alone without."""
    if len(shares) == 1:
        return next(iter(shares))
    return ", ".join(f"{image} {share} %" for image, share in shares.items())


def altered(after: ServiceChange, before: ServiceChange | None) -> tuple[str, ...]:
    """The settings that a change altered, such as `memory 1.0 GiB -> 2.0 GiB`."""
    if before is None:
        return ()
    old, new = (change.settings.model_dump(mode="json") for change in (before, after))
    return tuple(
        f"{name} {setting_text(name, old[name]) or 'none'} -> "
        f"{setting_text(name, new[name]) or 'none'}"
        for name in new
        if new[name] != old[name]
    )


def former(
    history: Sequence[ServiceChange],
    image: str,
    settings: ServiceSettings,
    traffic: Mapping[str, int],
) -> ServiceChange | None:
    """The newest change that served something else than is wanted now; None: there is none.

    Args:
        history: Newest first.
        image: What is wanted now, `name:version`.
        settings: What is wanted now.
        traffic: The shares that are wanted now; empty where one image serves alone.
    """
    wanted = image, settings, traffic
    return next(
        (
            change
            for change in history
            if change.outcome is ChangeOutcome.SERVED
            and (change.image, change.settings, change.traffic) != wanted
        ),
        None,
    )
