"""Services: what is wanted of each, its deployments and keys, and what was last seen.

Every change of what an agent is to do raises the agent's generation in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

from sqlalchemy import delete, select, update

from modelyard.domain.cause import Cause
from modelyard.domain.change import ChangeOutcome, ServiceChange, former, split_traffic
from modelyard.domain.desired import DesiredService, KeyHash
from modelyard.domain.image import Image, Manifest
from modelyard.domain.rollout import Canary, Move, Rollout
from modelyard.domain.search import Page, Search
from modelyard.domain.service import (
    ReplicaSettings,
    Service,
    ServiceSettings,
    ServiceState,
    ServiceStatus,
)
from modelyard.domain.values import Reference
from modelyard.errors import Conflict
from modelyard.schemas import ChangeLabels, DeployService
from modelyard.store import labels, search
from modelyard.store.agents import Agents
from modelyard.store.changes import Changes
from modelyard.store.contents import images_with
from modelyard.store.labels import Labels
from modelyard.store.repository import Repository, insert_all
from modelyard.store.rows import (
    DeploymentRow,
    ImageRow,
    ServiceKeyRow,
    ServiceLabelRow,
    ServiceRow,
)
from modelyard.store.service_rows import ServiceRows
from modelyard.store.service_view import ServiceView

FULL_WEIGHT = 100


class Services(Repository):
    """Services of all targets."""

    def add(
        self,
        workspace: str,
        request: DeployService,
        agent: str,
        image: Image,
        created_by: str,
    ) -> Service:
        """Create a service at generation 1, with one deployment that has all the traffic.

        Raises:
            NotFound: The image or the agent is not there (any more).
            Conflict: The name is taken, or the image is not built.
        """
        self._rows.refuse_taken(workspace, request.name)
        entries = Labels(dict(request.tags), dict(request.properties))
        now = self._clock()
        row = ServiceRow(
            id=uuid4(),
            workspace=workspace,
            name=request.name,
            target=request.target,
            agent=agent,
            image=self._rows.built(image),
            settings=request.settings,
            generation=1,
            deleting=False,
            status=ServiceStatus(state=ServiceState.TRANSITIONING),
            description=request.description,
            words=labels.words(request.name, request.description, entries),
            created_at=now,
            updated_at=now,
            created_by=created_by,
        )
        self._agents.bump(agent)
        self._session.add(row)
        self._session.flush()
        self._rows.deploy(row, row.image, FULL_WEIGHT)
        labels.add(self._session, ServiceLabelRow, workspace, row.seq, entries)
        self._changes.add(row, created_by)
        return self._one(row)

    def update(
        self,
        workspace: str,
        name: str,
        image: Image | None,
        settings: ServiceSettings,
        by: str = "",
        canary: Canary | None = None,
        shadow: int = 0,
    ) -> Service:
        """Want another image (None keeps what serves) and these settings, one generation on.

        Another image or other replica settings make a new deployment with all the traffic, with the
        first share of a canary, or with copies of `shadow` percent of the requests; what had the
        traffic before stays until `retire` or `revert`. Wanting what is wanted changes nothing, not
        even the generation. While a candidate is tried, only settings can be changed that replace
        no replicas.

        Raises:
            NotFound: The service or the image is not there (any more).
            Conflict: The service is being deleted, or the image is not built.
        """
        row = self._rows.changeable(workspace, name)
        shares = {d.image: d.weight for d in self._rows.deployments(row) if d.weight}
        if image is not None and row.rollout is None:
            shares = {self._rows.built(image): FULL_WEIGHT}
        if row.rollout is None:
            return self._want(row, shares, settings, by, canary, shadow)
        if settings == row.settings:
            return self._one(row)
        row.settings = settings
        self._changed(row)
        serving = [d for d in self._rows.deployments(row) if d.id != row.rollout.candidate]
        for one in self._rows.deployments(row):
            one.settings = _with_replicas_of(one.settings, settings)
        self._session.flush()
        self._changes.add(row, by, serving=serving)
        return self._one(row)

    def split(
        self,
        workspace: str,
        name: str,
        shares: Sequence[tuple[Image, int]],
        settings: ServiceSettings,
        by: str = "",
    ) -> Service:
        """Want these images to share the traffic, in percent, with these settings.

        Raises:
            NotFound: The service or an image is not there (any more).
            Conflict: The service is being deleted, or an image is not built.
        """
        row = self._rows.changeable(workspace, name)
        wanted = {self._rows.built(image): weight for image, weight in shares}
        return self._want(row, wanted, settings, by)

    def _want(
        self,
        row: ServiceRow,
        shares: Mapping[int, int],
        settings: ServiceSettings,
        by: str,
        canary: Canary | None = None,
        shadow: int = 0,
    ) -> Service:
        """Give these images their shares, in deployments that there are or new ones."""
        present = [one for one in self._rows.deployments(row) if one.weight]
        if shares == {d.image: d.weight for d in present} and settings == row.settings:
            return self._one(row)
        kept = {d.image: d for d in present if _same_replicas(d.settings, settings)}
        row.image, row.settings = max(shares, key=lambda image: shares[image]), settings
        self._changed(row)
        self._rows.weigh(row, 0)
        for image, weight in shares.items():
            if image in kept:
                kept[image].weight, kept[image].settings = weight, settings
            elif canary is None and not shadow:
                self._rows.deploy(row, image, weight)
            else:
                self._try(row, image, present[-1], canary, shadow)
        self._session.flush()
        serving = [one for one in self._rows.deployments(row) if one.weight]
        self._changes.add(row, by, serving=serving if row.rollout is None else ())
        return self._one(row)

    def _try(
        self,
        row: ServiceRow,
        image: int,
        incumbent: DeploymentRow,
        canary: Canary | None,
        shadow: int,
    ) -> None:
        """Set a candidate beside what serves."""
        share = canary.steps[0] if canary is not None else 0
        candidate = self._rows.deploy(row, image, share)
        incumbent.weight = FULL_WEIGHT - share
        row.rollout = Rollout(
            candidate=candidate.id, generation=row.generation, canary=canary, shadow=shadow
        )

    def move_rollout(self, service: UUID, move: Move, reason: str = "") -> Service:
        """Take the next step of a rollout that has reached the one before; `reason` is noted.

        Raises:
            NotFound: There is no service with this id.
        """
        row = self._rows.row(service)
        rollout = row.rollout
        if rollout is None or move is Move.STAY:
            return self._one(row)
        if move is Move.BEGIN:
            row.rollout = rollout.model_copy(update={"since": self._clock()})
            self._session.flush()
            return self._one(row)
        grown = rollout.model_copy(update={"step": rollout.step + 1, "since": None})
        share = FULL_WEIGHT if move is Move.PROMOTE else grown.share
        for one in self._rows.deployments(row):
            one.weight = share if one.id == rollout.candidate else FULL_WEIGHT - share
        row.rollout = None if move is Move.PROMOTE else grown
        self._changed(row)
        if reason:
            self._changes.explain(row.seq, rollout.generation, reason)
        return self._one(row)

    def revert(self, service: UUID, generation: int, reason: str = "", by: str = "") -> Service:
        """Go back to what served before, with its images and settings.

        The failed deployments are removed, the generation goes one on. Nothing changes when the
        service is past `generation` already, or when there is nothing to go back to. Where nothing
        has been reached yet, that is the oldest of several.

        Raises:
            NotFound: There is no service with this id.
        """
        row = self._rows.row(service)
        kept = self._rows.deployments(row)
        if row.generation != generation or row.deleting or len(kept) < 2:
            return self._one(row)
        former = [one for one in kept if one.served] or kept[:1]
        if former == kept and row.rollout is None and all(d.weight == d.served for d in kept):
            return self._one(row)
        for one in kept:
            if one in former:
                one.weight = one.served or FULL_WEIGHT
            else:
                self._session.delete(one)
        first = max(former, key=lambda one: one.weight)
        row.image, row.settings, row.rollout = first.image, first.settings, None
        self._changed(row)
        self._changes.add(row, by, reason, serving=former)
        return self._one(row)

    def end_change(
        self,
        service: UUID,
        generation: int,
        outcome: ChangeOutcome,
        reason: str = "",
        cause: Cause | None = None,
    ) -> None:
        """Note in the history what became of the changes up to this generation.

        While a candidate is tried, its own change ends only by failing, and the others only by
        being reached.
        """
        row = self._rows.row(service)
        first, last = 0, generation
        if row.rollout is not None and outcome is ChangeOutcome.SERVED:
            first = row.rollout.generation + 1
        elif row.rollout is not None:
            first = last = row.rollout.generation
        self._changes.end(row.seq, first, last, outcome, reason, cause)

    def take_back(self, service: UUID, cause: Cause) -> None:
        """Note in the history that the changes which made the deployment that serves are undone.

        Raises:
            NotFound: There is no service with this id.
        """
        row = self._rows.row(service)
        first = max(one.generation for one in self._rows.deployments(row) if one.weight)
        self._changes.take_back(row.seq, first, cause)

    def history(self, service: UUID) -> tuple[ServiceChange, ...]:
        """Every change of the service, newest first.

        Raises:
            NotFound: There is no service with this id.
        """
        return self._changes.of(self._rows.row(service).seq)

    def retire(self, service: UUID) -> Service:
        """Remove deployments without traffic: those that have it have taken over.

        Raises:
            NotFound: There is no service with this id.
        """
        row = self._rows.row(service)
        gone = [other for other in self._rows.deployments(row) if not other.weight]
        for deployment in gone:
            self._session.delete(deployment)
        query = update(DeploymentRow).where(DeploymentRow.service == row.seq)
        self._session.execute(query.values(served=DeploymentRow.weight))
        if gone:
            self._agents.bump(row.agent)
        self._session.flush()
        return self._one(row)

    def get(self, workspace: str, name: str) -> Service:
        """One service.

        Raises:
            NotFound: There is none of this name; the hint names what there is.
        """
        return self._one(self._rows.named(workspace, name))

    def all(self) -> tuple[Service, ...]:
        """The services of all workspaces, also those being deleted, oldest first."""
        rows = self._session.scalars(select(ServiceRow).order_by(ServiceRow.seq)).all()
        return tuple(self._view.services(rows))

    def names(self, workspace: str) -> dict[str, UUID]:
        """Ids of all services of a workspace, by name."""
        query = select(ServiceRow.name, ServiceRow.id).where(ServiceRow.workspace == workspace)
        return {name: service for name, service in self._session.execute(query)}

    def may_sleep(self, workspace: str) -> frozenset[UUID]:
        """Ids of the services of a workspace that need no replica while nobody asks."""
        query = select(ServiceRow.id, ServiceRow.settings).where(ServiceRow.workspace == workspace)
        return frozenset(id_ for id_, wanted in self._session.execute(query) if not wanted.replicas)

    def of_agent(self, agent: str) -> dict[UUID, str]:
        """Names of all services that an agent runs, by id."""
        query = select(ServiceRow.id, ServiceRow.name).where(ServiceRow.agent == agent)
        return {service: name for service, name in self._session.execute(query)}

    def search(self, workspace: str, wanted: Search) -> Page[Service]:
        """Services that pass every filter, newest first; by the image that is wanted of them."""
        search.refuse("services", wanted, "framework", "version")
        found = search.labelled(self._session, ServiceRow, ServiceLabelRow, workspace, wanted)
        if wanted.model is not None:
            found = found.where(ServiceRow.image.in_(images_with(wanted.model)))
        if wanted.image is not None:
            image = Reference.parse(wanted.image, "image")
            images = select(ImageRow.seq).where(ImageRow.name == image.name)
            if image.version is not None:
                images = images.where(ImageRow.version == image.version)
            found = found.where(ServiceRow.image.in_(images))
        return search.page(self._session, found, wanted, self._view.services)

    def change_labels(self, workspace: str, name: str, change: ChangeLabels) -> Service:
        """Change tags and description, add properties; replicas do not notice.

        Raises:
            NotFound: There is no such service.
            Conflict: A property exists with another value.
        """
        row = self._rows.named(workspace, name)
        labels.apply(self._session, ServiceLabelRow, row, f"service `{name}`", change)
        row.updated_at = self._clock()
        self._session.flush()
        return self._one(row)

    def is_current(self, service: UUID, generation: int) -> bool:
        """Whether the service exists, is not being deleted, and is still at this generation."""
        query = select(ServiceRow.seq).where(
            ServiceRow.id == service,
            ServiceRow.generation == generation,
            ServiceRow.deleting.is_(False),
        )
        return self._session.scalar(query) is not None

    def set_status(self, service: UUID, status: ServiceStatus) -> None:
        """Keep what was last seen; a service that is gone meanwhile is no error."""
        query = update(ServiceRow).where(ServiceRow.id == service).values(status=status)
        self._session.execute(query)

    def mark_deleting(self, workspace: str, name: str) -> Service:
        """Take the service out of what its agent is to do; repeatable.

        Raises:
            NotFound: There is no such service.
        """
        row = self._rows.named(workspace, name)
        if not row.deleting:
            row.deleting = True
            self._changed(row)
        return self._one(row)

    def delete(self, service: UUID) -> None:
        """Remove a service with its keys, deployments and logs; one that is gone is no error.

        Raises:
            Conflict: It was not marked as being deleted.
        """
        row = self._session.scalar(select(ServiceRow).where(ServiceRow.id == service))
        if row is None:
            return
        if not row.deleting:
            raise Conflict(
                f"service `{row.name}` still runs", hint="drain it first: mark it as being deleted"
            )
        self._session.execute(delete(ServiceRow).where(ServiceRow.seq == row.seq))

    def set_keys(self, service: UUID, keys: Sequence[KeyHash]) -> None:
        """Recognise these keys from now on, and no others.

        Raises:
            NotFound: There is no service with this id.
        """
        row = self._rows.row(service)
        self._session.execute(delete(ServiceKeyRow).where(ServiceKeyRow.service == row.seq))
        insert_all(
            self._session,
            ServiceKeyRow,
            (
                {
                    "service": row.seq,
                    "slot": key.slot,
                    "key_id": key.id,
                    "hash": key.hash,
                    "token_key": key.token_key,
                }
                for key in keys
            ),
        )
        self._agents.bump(row.agent)

    def keys(self, service: UUID) -> tuple[KeyHash, ...]:
        """What recognises the keys of a service, the primary first.

        Raises:
            NotFound: There is no service with this id.
        """
        row = self._rows.row(service)
        return self._view.keys([row.seq]).get(row.seq, ())

    def desired(self, agent: str) -> tuple[DesiredService, ...]:
        """What an agent is to run: every service of its that is not being deleted."""
        query = select(ServiceRow).where(ServiceRow.agent == agent, ServiceRow.deleting.is_(False))
        rows = self._session.scalars(query.order_by(ServiceRow.name)).all()
        return tuple(
            desired
            if row.target == "local"
            else desired.model_copy(update={"former": self._former(row)})
            for row, desired in zip(rows, self._view.desired(rows), strict=True)
        )

    def _former(self, row: ServiceRow) -> tuple[Manifest, ...]:
        """The images of what served before, as far as they have not been deleted."""
        service, history = self._one(row), self._changes.of(row.seq)
        traffic = split_traffic(service.deployments)
        before = former(history, service.image, service.settings, traffic)
        if before is None:
            return ()
        manifests = []
        for name in before.traffic or (before.image,):
            image = Reference.parse(name)
            query = select(ImageRow.manifest).where(
                ImageRow.workspace == row.workspace,
                ImageRow.name == image.name,
                ImageRow.version == image.version,
            )
            manifests.append(self._session.scalar(query))
        return tuple(manifest for manifest in manifests if manifest is not None)

    @property
    def _changes(self) -> Changes:
        return Changes(self._session, self._clock)

    @property
    def _agents(self) -> Agents:
        return Agents(self._session, self._clock)

    @property
    def _rows(self) -> ServiceRows:
        return ServiceRows(self._session, self._clock)

    @property
    def _view(self) -> ServiceView:
        return ServiceView(self._session)

    def _one(self, row: ServiceRow) -> Service:
        return self._view.services([row])[0]

    def _changed(self, row: ServiceRow) -> None:
        row.generation += 1
        row.updated_at = self._clock()
        self._agents.bump(row.agent)
        self._session.flush()


def _same_replicas(one: ServiceSettings, other: ServiceSettings) -> bool:
    return one.for_replica() == other.for_replica()


def _with_replicas_of(one: ServiceSettings, other: ServiceSettings) -> ServiceSettings:
    """The other settings, but for those of replicas, which stay."""
    own = {name: getattr(one, name) for name in ReplicaSettings.model_fields}
    return other.model_copy(update=own)
