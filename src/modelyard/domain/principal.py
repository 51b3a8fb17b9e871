"""Who asks: a caller that proved itself with a token."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from modelyard.domain.values import Value


class Role(StrEnum):
    """What a principal may do."""

    OWNER = "owner"
    """Everything inside its workspace."""
    AGENT = "agent"
    """Read desired state and blobs, report what one host sees."""


class Principal(Value):
    """One caller of the REST interface."""

    id: UUID
    workspace: str
    name: str
    """For an agent, the agent's name."""
    role: Role
