"""What one agent is to do: a document that the server writes and the agent reads whole."""

from __future__ import annotations

from uuid import UUID

from pydantic import JsonValue

from modelyard.domain.columns import Columns
from modelyard.domain.image import Manifest
from modelyard.domain.service import Authentication, KeySlot, ReplicaSettings, WhenFull
from modelyard.domain.signature import Signature
from modelyard.domain.values import Value


class KeyHash(Value):
    """What a gateway needs to recognise a key, and no more."""

    id: str
    """The public part, which a caller sends in front of the secret part."""
    slot: KeySlot
    hash: str
    """HMAC-SHA256 of the secret part under the public part, hexadecimal."""
    token_key: str = ""
    """Recognises tokens that are signed under this key: an Ed25519 public key, base64."""


class DesiredDeployment(Value):
    """One deployment an agent is to run."""

    id: UUID
    target: str = "local"
    """`local` for processes, `container` for containers of the host's engine."""
    image: str
    manifest: Manifest
    signature: Signature | None = None
    """Who vouches for the manifest; the agent starts nothing without a trusted one."""
    sample: JsonValue = None
    """A request that the image has scored: each new replica scores it before it gets others, and it
    is the example of its description; null: none is known."""
    answer: JsonValue = None
    """What the image declares of its answers, `answers.declared_answer`; null: nothing."""
    columns: Columns = Columns()
    """What it declares of the rows that it scores."""
    settings: ReplicaSettings
    weight: int
    """Share of the traffic, in percent; 0 for one that is on its way out."""


class DesiredCapture(Value):
    """How requests to a service are recorded, and what turned out to be true of them."""

    percent: int
    """Of requests; 0: none is recorded."""
    space: int
    when_full: WhenFull
    durable: bool = False
    drop: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()
    key: str = ""
    """Of the hashes, hexadecimal."""
    encrypted: tuple[str, ...] = ()
    public: str = ""
    """The public key that they are encrypted for, hexadecimal."""


class DesiredService(Value):
    """One service an agent is to run."""

    id: UUID
    name: str
    generation: int
    replicas: int
    """The least of them, where they come and go with the load."""
    max_replicas: int | None = None
    idle_time: float = 600.0
    sleeps: bool = False
    """The last replica may go, too; a request then waits for one to start."""
    max_concurrent_requests: int
    max_queue_wait: float
    cors_origins: tuple[str, ...] = ()
    scoring_timeout: float
    capture: DesiredCapture | None = None
    """None: the server is older than capture."""
    auth: Authentication
    clients: tuple[str, ...] = ()
    """Names in certificates of those who may score, with `auth` `cert`."""
    keys: tuple[KeyHash, ...]
    deployments: tuple[DesiredDeployment, ...]
    former: tuple[Manifest, ...] = ()
    """Images that `service rollback` goes back to: they stay in the host's engine meanwhile. None
    for the target `local`, which keeps unpacked layers anyway."""
    candidate: UUID | None = None
    """The deployment that is tried beside what serves, until it is promoted or taken back."""
    shadow: int = 0
    """Percent of the requests of which the candidate gets a copy; it has no other share then."""
    sticky: str = ""
    """Header, in lower case, by whose value callers stay with a deployment; empty: none."""
    judged: bool = True
    """What is new is compared with what served before, and taken out when it is worse."""
    standby: UUID | None = None
    """The deployment that is kept ready without a share, to go back to; the agent says which."""
    compared: bool = False
    """Deployments are being compared now; the agent says so."""

    @property
    def wanted(self) -> tuple[DesiredDeployment, ...]:
        """The deployments that are to have replicas; the others are on their way out."""
        beside = (self.candidate, self.standby)
        return tuple(d for d in self.deployments if d.weight > 0 or d.id in beside)

    def replicas_of(self, deployment: DesiredDeployment) -> int:
        """How many replicas a wanted deployment needs: enough for its share, and at least one.

        While a candidate is tried, what serves keeps all it had.
        """
        if self.candidate is not None and deployment.id != self.candidate:
            return self.replicas
        if deployment.id == self.standby:
            return self.replicas
        needed = -(-self.replicas * (deployment.weight or self.shadow) // 100)
        return max(needed, min(self.replicas, 1))

    @property
    def most_replicas(self) -> int:
        """As many as there may be."""
        return self.max_replicas or self.replicas

    @property
    def elastic(self) -> bool:
        """Replicas come and go with the load."""
        return self.max_replicas is not None


class DesiredState(Value):
    """Everything one agent is to do: one versioned document, read whole."""

    agent: str
    fence: int
    """Grows with every server that takes over; a document with a lower one is stale."""
    generation: int
    """Grows with every change to any service of this agent."""
    services: tuple[DesiredService, ...] = ()
