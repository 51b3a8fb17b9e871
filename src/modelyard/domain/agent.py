"""An agent, as the control plane knows it: what it was told and what it last said."""

from __future__ import annotations

from datetime import datetime

from modelyard.domain.observed import ObservedState
from modelyard.domain.values import Value


class Agent(Value):
    """One host's agent. Names are unique over all workspaces: a host is nobody's tenant."""

    name: str
    workspace: str
    fence: int
    """Grows with every server that takes over."""
    generation: int
    """Grows with every change of what this agent is to do."""
    last_seen: datetime | None = None
    observed: ObservedState | None = None
    """The newest report, or null before the first."""
