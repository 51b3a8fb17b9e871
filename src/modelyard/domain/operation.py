"""An operation: one long-running request, with an id, a state, a log and an error."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from modelyard.domain.values import Value


class OperationState(StrEnum):
    """Where an operation stands."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        """Nothing more will happen."""
        return self is not OperationState.RUNNING


class OperationKind(StrEnum):
    """What an operation does."""

    IMAGE_BUILD = "image.build"
    IMAGE_PROFILE = "image.profile"
    IMAGE_REPLAY = "image.replay"
    IMAGE_REPRODUCE = "image.reproduce"
    IMAGE_EXPORT = "image.export"
    IMAGE_IMPORT = "image.import"
    IMAGE_PUSH = "image.push"
    IMAGE_PULL = "image.pull"
    SERVICE_DEPLOY = "service.deploy"
    SERVICE_UPDATE = "service.update"
    SERVICE_DELETE = "service.delete"


CANCELLABLE = frozenset(
    {
        OperationKind.IMAGE_BUILD,
        OperationKind.IMAGE_PROFILE,
        OperationKind.IMAGE_REPLAY,
        OperationKind.IMAGE_REPRODUCE,
        OperationKind.IMAGE_EXPORT,
        OperationKind.IMAGE_IMPORT,
        OperationKind.IMAGE_PUSH,
        OperationKind.IMAGE_PULL,
    }
)
"""Kinds that leave nothing behind when they end half-way: a caller may end them."""


class Operation(Value):
    """One long-running request."""

    id: UUID
    workspace: str
    kind: OperationKind
    state: OperationState
    resource: str
    """What it works on: `image iris:3`, `service iris`."""
    error: dict[str, Any] | None = None
    """`code`, `message`, `hint`, `details` when it failed."""
    result: JsonValue = None
    """What came of it: a profile, a replay, the reference of an image that was taken in."""
    created_at: datetime
    updated_at: datetime
    created_by: str


TRIAL_REPLICA = "replica"
"""Source of what a replica prints that is started for a replay or a reproduction."""


class LogLine(Value):
    """One line of an operation's or a replica's log; `sequence` resumes a broken stream."""

    sequence: int
    time: datetime
    source: str = ""
    """The replica or build step that wrote it."""
    request: str = ""
    """Id of the request that it was printed for; empty where it is about none, or about several."""
    text: str
