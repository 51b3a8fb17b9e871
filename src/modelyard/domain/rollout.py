"""A candidate on its way to all of the traffic, step by step. Pure: the time is an argument.

A service that is updated as a canary has its candidate beside what serves until the candidate is
promoted, which this says when, or taken back.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Self
from uuid import UUID

from pydantic import Field, model_validator

from modelyard.domain.values import Percent, Seconds, Spec, Value, duration_text


class Canary(Spec):
    """How a candidate is to get its traffic."""

    steps: tuple[Percent, ...] = Field(min_length=1, max_length=20)
    """Its shares in percent, one after the other, each larger than the one before."""
    step_time: Seconds | None = Field(None, ge=1, le=30 * 24 * 3600)
    """How long each share lasts, `"10m"`; after the last one the candidate gets all of the traffic.
    Unset: the first share lasts until the candidate is promoted or taken back."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.steps[-1] > 99 or any(later <= earlier for earlier, later in pairwise(self.steps)):
            raise ValueError("shares grow from one to the next, and none is above 99 %")
        if self.step_time is None and len(self.steps) > 1:
            raise ValueError("several shares need a time that each of them lasts")
        return self

    def __str__(self) -> str:
        shares = ", ".join(f"{share} %" for share in self.steps)
        each = "" if self.step_time is None else f", {duration_text(self.step_time)} each"
        return f"canary {shares}{each}"


class Rollout(Value):
    """A candidate that is tried beside what serves."""

    candidate: UUID
    """Id of its deployment."""
    generation: int
    """The service's generation that asked for it."""
    canary: Canary | None = None
    """How it gets its traffic; null for a shadow."""
    shadow: int = 0
    """Percent of the requests of which it gets a copy, while its answers go to nobody."""
    step: int = 0
    """Which of the shares it is to have now, from 0."""
    since: datetime | None = None
    """When it got that share; null while its replicas for it are not ready."""

    @property
    def share(self) -> int:
        """What it is to get now of the traffic, in percent."""
        return 0 if self.canary is None else self.canary.steps[self.step]

    @property
    def plan(self) -> str:
        """How it is tried: `canary 10 %`, `shadow 10 %`."""
        return f"shadow {self.shadow} %" if self.canary is None else str(self.canary)

    @property
    def stage(self) -> str:
        """Where it stands: `10 %`, `a shadow of 10 %`."""
        return f"a shadow of {self.shadow} %" if self.canary is None else f"{self.share} %"

    @property
    def ends_at(self) -> datetime | None:
        """When the present share is followed by the next one; None: not by itself."""
        if self.since is None or self.canary is None or self.canary.step_time is None:
            return None
        return self.since + timedelta(seconds=self.canary.step_time)

    @property
    def on_last_step(self) -> bool:
        """What follows is all of the traffic."""
        return self.canary is None or self.step + 1 == len(self.canary.steps)


class Move(StrEnum):
    """What comes next for a candidate that has the share it is to have."""

    BEGIN = "begin"
    """Its share is new: from now on its time runs."""
    STAY = "stay"
    GROW = "grow"
    """The next share."""
    PROMOTE = "promote"


def next_move(rollout: Rollout, now: datetime) -> Move:
    """What to do next, once all replicas are ready that the present share needs.

    Nothing that was missed is made up for: each share lasts as long as it should, counted from when
    it was really had.
    """
    if rollout.since is None:
        return Move.BEGIN
    if rollout.ends_at is None or now < rollout.ends_at:
        return Move.STAY
    return Move.PROMOTE if rollout.on_last_step else Move.GROW


def in_words(rollout: Rollout, image: str) -> str:
    """Where a rollout stands: `digits:4 gets 10 % since 12:00:05 UTC, 50 % from 12:10:05`."""
    shadows = rollout.canary is None
    share = f"copies of {rollout.shadow} %" if shadows else f"{rollout.share} %"
    if rollout.since is None:
        return f"{image} gets {share} when its replicas are ready"
    words = f"{image} gets {share} since {rollout.since:%Y-%m-%d %H:%M:%S} UTC"
    if rollout.canary is None or rollout.ends_at is None:
        return f"{words}, until it is promoted or taken back"
    following = "all" if rollout.on_last_step else f"{rollout.canary.steps[rollout.step + 1]} %"
    return f"{words}, {following} from {rollout.ends_at:%H:%M:%S}"
