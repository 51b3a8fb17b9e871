"""Keeps the figures of deployments true while their replicas come, go and begin to count anew."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from pydantic import BaseModel

from modelyard.domain.figures import add, counted, went_back
from modelyard_runtime.families import Figures


class Line(NamedTuple):
    """What is known of one replica's counting."""

    deployment: UUID
    figures: Figures


class Book(BaseModel):
    """What has to outlive the agent."""

    gone: dict[UUID, Figures] = {}
    """By deployment: what replicas counted that are no more."""
    replicas: dict[str, Line] = {}
    """By replica: what it had counted at the last look."""


class Ledger:
    """Adds up what replicas counted; what went into a sum never leaves it."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()

    def note(self, replica: str, deployment: UUID, figures: Figures) -> None:
        """What a replica has counted until now; less than before: it began anew in between."""
        now = counted(figures)
        known = self.book.replicas.get(replica)
        if known is not None and (known.deployment != deployment or went_back(now, known.figures)):
            self.close(replica)
        self.book.replicas[replica] = Line(deployment, now)

    def close(self, replica: str) -> None:
        """A replica is gone; no error when it never counted."""
        known = self.book.replicas.pop(replica, None)
        if known is not None:
            before = self.book.gone.get(known.deployment, {})
            self.book.gone[known.deployment] = add([before, known.figures])

    def close_others(self, replicas: Collection[str]) -> None:
        """All but these are gone."""
        for replica in self.book.replicas.keys() - set(replicas):
            self.close(replica)

    def totals(self) -> dict[UUID, Figures]:
        """What each deployment has counted."""
        found = {deployment: [figures] for deployment, figures in self.book.gone.items()}
        for line in self.book.replicas.values():
            found.setdefault(line.deployment, []).append(line.figures)
        return {deployment: add(figures) for deployment, figures in found.items()}

    def keep_only(self, deployments: Collection[UUID]) -> None:
        """Forget deployments that are no more."""
        book = self.book
        book.gone = {d: figures for d, figures in book.gone.items() if d in deployments}
        book.replicas = {
            r: line for r, line in book.replicas.items() if line.deployment in deployments
        }
