"""One transaction: every repository, on the same session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property

from sqlalchemy.orm import Session

from modelyard.store.agents import Agents
from modelyard.store.alerts import Alerts
from modelyard.store.blobs import Blobs
from modelyard.store.captured import Captured
from modelyard.store.compressed import CompressedLayers
from modelyard.store.idempotency import Idempotency
from modelyard.store.images import Images
from modelyard.store.locks import Locks
from modelyard.store.logs import Logs
from modelyard.store.minutes import Minutes
from modelyard.store.models import Models
from modelyard.store.operations import Operations
from modelyard.store.packages import Packages
from modelyard.store.principals import Principals
from modelyard.store.services import Services
from modelyard.store.sketches import Sketches


class Transaction:
    """The repositories. They are of no use once the transaction has ended."""

    def __init__(self, session: Session, clock: Callable[[], datetime]) -> None:
        self._session = session
        self._clock = clock

    @cached_property
    def principals(self) -> Principals:
        """Callers and the hashes of their tokens."""
        return Principals(self._session, self._clock)

    @cached_property
    def models(self) -> Models:
        """Models and their files."""
        return Models(self._session, self._clock)

    @cached_property
    def images(self) -> Images:
        """Images, their layers and the models inside."""
        return Images(self._session, self._clock)

    @cached_property
    def packages(self) -> Packages:
        """Which images carry which packages."""
        return Packages(self._session, self._clock)

    @cached_property
    def locks(self) -> Locks:
        """Locked environments."""
        return Locks(self._session, self._clock)

    @cached_property
    def services(self) -> Services:
        """Services, their deployments and keys."""
        return Services(self._session, self._clock)

    @cached_property
    def agents(self) -> Agents:
        """Agents, what they were told and what they said."""
        return Agents(self._session, self._clock)

    @cached_property
    def operations(self) -> Operations:
        """Long-running requests and their logs."""
        return Operations(self._session, self._clock)

    @cached_property
    def idempotency(self) -> Idempotency:
        """Answers to requests that carried a key."""
        return Idempotency(self._session, self._clock)

    @cached_property
    def logs(self) -> Logs:
        """Logs of replicas."""
        return Logs(self._session, self._clock)

    @cached_property
    def minutes(self) -> Minutes:
        """Figures of services by the minute."""
        return Minutes(self._session, self._clock)

    @cached_property
    def alerts(self) -> Alerts:
        """How alerts stand, where they are told, and what is to be told."""
        return Alerts(self._session, self._clock)

    @cached_property
    def captured(self) -> Captured:
        """Files of captured records, and what became of requests."""
        return Captured(self._session, self._clock)

    @cached_property
    def sketches(self) -> Sketches:
        """What is kept of captured rows to compare them."""
        return Sketches(self._session, self._clock)

    @cached_property
    def compressed(self) -> CompressedLayers:
        """Layers that were compressed before."""
        return CompressedLayers(self._session, self._clock)

    @cached_property
    def blobs(self) -> Blobs:
        """Which blobs there are and which are still needed."""
        return Blobs(self._session, self._clock)
