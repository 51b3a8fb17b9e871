"""Everything the platform does, in one value: what the REST interface is given."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.control.agents import Agents
from modelyard.control.alerts import Alerts
from modelyard.control.background import Background
from modelyard.control.blobs import BlobTransfer
from modelyard.control.captures import Captures
from modelyard.control.certificates import Certificates
from modelyard.control.changes import Changes
from modelyard.control.drift import Drift
from modelyard.control.images import Images
from modelyard.control.keys import Keys
from modelyard.control.models import Models
from modelyard.control.moving import Moving
from modelyard.control.operations import Operations
from modelyard.control.principals import Principals
from modelyard.control.profiles import Profiles
from modelyard.control.quality import Qualities
from modelyard.control.replays import Replays
from modelyard.control.reproductions import Reproductions
from modelyard.control.rewriting import Rewriting
from modelyard.control.services import Services
from modelyard.control.supply_chain import SupplyChain
from modelyard.control.telemetry import Telemetry


@dataclass(frozen=True)
class Platform:
    """The nouns of the platform."""

    principals: Principals
    blobs: BlobTransfer
    models: Models
    images: Images
    supply_chain: SupplyChain
    captures: Captures
    rewriting: Rewriting
    qualities: Qualities
    drift: Drift
    profiles: Profiles
    replays: Replays
    reproductions: Reproductions
    moving: Moving
    background: Background
    services: Services
    changes: Changes
    keys: Keys
    certificates: Certificates
    operations: Operations
    agents: Agents
    telemetry: Telemetry
    alerts: Alerts
    local_agent: str
    """Name of the agent on the server's own host."""
    authority: str | None = None
    """PEM of the workspace's own authority, where the gateway's certificate is from it."""
    server_authority: str | None = None
    """The same, where the server's own certificate is from it."""

    def close(self) -> None:
        """Turn away everybody who waits for news."""
        for signal in (self.operations.changed, self.agents.woken, self.agents.logged):
            signal.close()
