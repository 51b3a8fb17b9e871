"""The rows of services and deployments: finding them, and saying what is not there."""

from __future__ import annotations

from uuid import UUID, uuid4

from sqlalchemy import select, update

from modelyard.domain.image import Image, ImageState
from modelyard.errors import Conflict, NotFound
from modelyard.store import versions
from modelyard.store.repository import Repository
from modelyard.store.rows import DeploymentRow, ImageRow, ServiceRow


class ServiceRows(Repository):
    """Rows that the repository of services works on."""

    def row(self, service: UUID) -> ServiceRow:
        """The row of a service.

        Raises:
            NotFound: There is no service with this id.
        """
        row = self._session.scalar(select(ServiceRow).where(ServiceRow.id == service))
        if row is None:
            raise NotFound(f"service `{service}` not found", hint="it may have been deleted")
        return row

    def named(self, workspace: str, name: str) -> ServiceRow:
        """The row of a service of this name.

        Raises:
            NotFound: There is none; the hint names what there is.
        """
        row = self._session.scalar(
            select(ServiceRow).where(ServiceRow.workspace == workspace, ServiceRow.name == name)
        )
        if row is None:
            raise NotFound(
                f"service `{name}` not found in workspace `{workspace}`",
                hint=versions.names_hint(self._session, ServiceRow, workspace, name),
                details={"kind": "service", "reference": name},
            )
        return row

    def changeable(self, workspace: str, name: str) -> ServiceRow:
        """The row of a service that is not being deleted.

        Raises:
            NotFound: There is none of this name.
            Conflict: It is being deleted.
        """
        row = self.named(workspace, name)
        if row.deleting:
            raise Conflict(
                f"service `{name}` is being deleted",
                hint="wait until it is gone, then deploy it again",
            )
        return row

    def refuse_taken(self, workspace: str, name: str) -> None:
        """Refuse a name that another service has.

        Raises:
            Conflict: It has.
        """
        query = select(ServiceRow.deleting).where(
            ServiceRow.workspace == workspace, ServiceRow.name == name
        )
        deleting = self._session.scalar(query)
        if deleting is None:
            return
        raise Conflict(
            f"service `{name}` exists already" + (" and is being deleted" if deleting else ""),
            hint="wait until it is gone" if deleting else "update it, or take another name",
        )

    def built(self, image: Image) -> int:
        """The number of an image that is built.

        Raises:
            NotFound: It is not there (any more).
            Conflict: It is not built.
        """
        query = select(ImageRow.seq, ImageRow.state).where(ImageRow.id == image.id)
        found = self._session.execute(query).one_or_none()
        if found is None:
            raise NotFound(f"image `{image.reference}` not found", hint="it was deleted meanwhile")
        seq, state = found
        if state is not ImageState.SUCCEEDED:
            raise Conflict(
                f"image `{image.reference}` is not built: its state is {state}",
                hint="wait for its build, or see why it failed",
            )
        return seq

    def deployments(self, row: ServiceRow) -> list[DeploymentRow]:
        """The deployments of a service, oldest first."""
        query = select(DeploymentRow).where(DeploymentRow.service == row.seq)
        order = DeploymentRow.generation, DeploymentRow.created_at
        return list(self._session.scalars(query.order_by(*order)))

    def weigh(self, row: ServiceRow, weight: int) -> None:
        """Give every deployment of a service this share."""
        query = update(DeploymentRow).where(DeploymentRow.service == row.seq)
        self._session.execute(query.values(weight=weight))

    def deploy(self, row: ServiceRow, image: int, weight: int) -> DeploymentRow:
        """Add a deployment of an image, with a share of the traffic."""
        deployment = DeploymentRow(
            id=uuid4(),
            service=row.seq,
            image=image,
            settings=row.settings,
            weight=weight,
            served=0,
            generation=row.generation,
            created_at=self._clock(),
        )
        self._session.add(deployment)
        self._session.flush()
        return deployment
