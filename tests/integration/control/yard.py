"""A control plane without a server, and an agent that does as the test says."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from tests.factories import add_image

from modelyard.control.agents import Agents
from modelyard.control.authority import Authority
from modelyard.control.certificates import Certificates
from modelyard.control.changes import Changes
from modelyard.control.keys import Keys
from modelyard.control.operations import Operations
from modelyard.control.reconciler import Reconciler
from modelyard.control.services import Services
from modelyard.domain.cause import Cause
from modelyard.domain.image import Image
from modelyard.domain.observed import (
    ObservedDeployment,
    ObservedGateway,
    ObservedService,
    ObservedState,
)
from modelyard.domain.operation import Operation
from modelyard.domain.principal import Principal, Role
from modelyard.domain.service import (
    ReplicaState,
    ReplicaStatus,
)
from modelyard.store import Database
from modelyard.targets.agent import ContainerTarget, LocalTarget

OWNER = Principal(id=uuid4(), workspace="default", name="owner", role=Role.OWNER)


AGENT = Principal(id=uuid4(), workspace="default", name="local", role=Role.AGENT)


class Yard:
    """A control plane without a server, and an agent that does as the test says."""

    def __init__(self, database: Database, authority: Authority | None = None) -> None:
        self.database = database
        self.operations = Operations(database)
        self.agents = Agents(database, capture_key=b"k", issues_certificates=authority is not None)
        self.agents.take_over("default", "local")
        both = (LocalTarget(self.agents, "local"), ContainerTarget(self.agents, "local"))
        targets = {target.name: target for target in both}
        certificates = Certificates(database, authority, secure=authority is not None)
        self.keys = Keys(database, targets, b"m" * 32)
        self.services = Services(
            database,
            self.operations,
            self.agents,
            targets,
            local_agent="local",
            keys=self.keys,
            certificates=certificates,
        )
        self.changes = Changes(database, self.operations, targets, certificates, b"m" * 32)
        self.reconciler = Reconciler(database, self.operations, self.agents, targets)

    def image(self, name: str = "iris") -> Image:
        with self.database.write() as tx:
            return add_image(tx, name)

    def report(
        self, *, ready: bool = True, failed: Cause | None = None, started_at: datetime | None = None
    ) -> None:
        """Report every wanted service; `failed` is why the newest deployment cannot run."""
        desired = self.agents.desired(AGENT, "local")
        services = []
        for service in desired.services:
            newest = service.wanted[-1]
            services.append(
                ObservedService(
                    id=service.id,
                    name=service.name,
                    generation=service.generation if ready else 0,
                    deployments=tuple(
                        ObservedDeployment(
                            id=deployment.id,
                            ready=ready or deployment is not newest,
                            failed=failed if deployment is newest else None,
                            replicas=(
                                ReplicaStatus(
                                    id="1",
                                    deployment=deployment.id,
                                    image=deployment.image,
                                    state=ReplicaState.READY,
                                    memory=5 << 20,
                                    started_at=started_at,
                                ),
                            )
                            if started_at is not None
                            else (),
                        )
                        for deployment in service.deployments
                    ),
                )
            )
        self.agents.observe(
            AGENT,
            "local",
            ObservedState(
                agent="local",
                fence=desired.fence,
                generation=desired.generation,
                gateway=ObservedGateway(url="http://127.0.0.1:1"),
                services=tuple(services),
            ),
        )
        self.reconciler.reconcile()

    def operation(self, operation: Operation) -> Operation:
        return self.operations.get(OWNER, operation.id)

    def log(self, operation: Operation) -> list[str]:
        return [line.text for line in self.operations.log(OWNER, operation.id, 0, 100)]
