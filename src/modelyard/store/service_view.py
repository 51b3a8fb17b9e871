"""Puts rows of services together as the domain and as agents see them; called by `services`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from modelyard.domain.answers import declared_answer
from modelyard.domain.columns import Columns, declared_columns
from modelyard.domain.desired import DesiredCapture, DesiredDeployment, DesiredService, KeyHash
from modelyard.domain.image import Manifest
from modelyard.domain.service import (
    Deployment,
    KeySlot,
    Service,
    ServiceSettings,
    ServiceState,
    ServiceStatus,
)
from modelyard.domain.signature import Signature
from modelyard.store import labels
from modelyard.store.contents import models_inside
from modelyard.store.labels import Labels
from modelyard.store.rows import (
    DeploymentRow,
    ImageRow,
    ServiceKeyRow,
    ServiceLabelRow,
    ServiceRow,
)


class _Built(NamedTuple):
    """What a service needs to know of an image."""

    reference: str
    manifest: Manifest
    signature: Signature | None
    sample: JsonValue
    answer: JsonValue
    columns: Columns
    models: tuple[str, ...]


class ServiceView:
    """Reads what belongs to many services with one query for each kind of part."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def services(self, rows: Sequence[ServiceRow]) -> list[Service]:
        """The services, in the order of their rows."""
        sequence = [row.seq for row in rows]
        deployments = self._deployments(sequence)
        images = self._images(rows, deployments)
        entries = labels.load(self._session, ServiceLabelRow, sequence)
        return [_to_domain(row, deployments[row.seq], images, entries[row.seq]) for row in rows]

    def desired(self, rows: Sequence[ServiceRow]) -> list[DesiredService]:
        """What agents are to run."""
        sequence = [row.seq for row in rows]
        deployments = self._deployments(sequence)
        images = self._images(rows, deployments)
        keys = self.keys(sequence)
        return [
            _to_desired(row, deployments[row.seq], images, keys.get(row.seq, ())) for row in rows
        ]

    def keys(self, services: Sequence[int]) -> dict[int, tuple[KeyHash, ...]]:
        """The keys of many services, the primary first."""
        query = select(ServiceKeyRow).where(ServiceKeyRow.service.in_(services))
        rows = self._session.scalars(query.order_by(ServiceKeyRow.service))
        order = list(KeySlot)
        return {
            service: tuple(
                KeyHash(id=key.key_id, slot=key.slot, hash=key.hash, token_key=key.token_key)
                for key in sorted(keys, key=lambda key: order.index(key.slot))
            )
            for service, keys in groupby(rows, key=lambda key: key.service)
        }

    def _deployments(self, services: Sequence[int]) -> dict[int, list[DeploymentRow]]:
        query = (
            select(DeploymentRow)
            .where(DeploymentRow.service.in_(services))
            .order_by(DeploymentRow.service, DeploymentRow.generation, DeploymentRow.created_at)
        )
        rows = self._session.scalars(query)
        return {service: list(group) for service, group in groupby(rows, lambda row: row.service)}

    def _images(
        self, rows: Sequence[ServiceRow], deployments: Mapping[int, Iterable[DeploymentRow]]
    ) -> dict[int, _Built]:
        wanted = {row.image for row in rows}
        wanted.update(one.image for group in deployments.values() for one in group)
        models = models_inside(self._session, wanted)
        query = select(
            ImageRow.seq,
            ImageRow.name,
            ImageRow.version,
            ImageRow.manifest,
            ImageRow.signature,
            ImageRow.report,
        )
        found = self._session.execute(query.where(ImageRow.seq.in_(wanted)))
        built = {}
        for seq, name, version, manifest, signature, report in found:
            assert manifest is not None, "only built images are deployed"
            reference, inside = f"{name}:{version}", models.get(seq, ())
            sample = report.example if report is not None else None
            answer = declared_answer(report.openapi, report.answer) if report is not None else None
            columns = Columns() if report is None else declared_columns(report.openapi)
            built[seq] = _Built(reference, manifest, signature, sample, answer, columns, inside)
        return built


def _to_domain(
    row: ServiceRow,
    deployments: Iterable[DeploymentRow],
    images: Mapping[int, _Built],
    entries: Labels,
) -> Service:
    image = images[row.image]
    return Service(
        id=row.id,
        workspace=row.workspace,
        name=row.name,
        target=row.target,
        image=image.reference,
        models=image.models,
        settings=row.settings,
        generation=row.generation,
        rollout=row.rollout,
        deployments=tuple(_deployment(one, images[one.image]) for one in deployments),
        status=_status(row),
        description=row.description,
        tags=entries.tags,
        properties=entries.properties,
        created_at=row.created_at,
        updated_at=row.updated_at,
        created_by=row.created_by,
    )


def _status(row: ServiceRow) -> ServiceStatus:
    if not row.deleting:
        return row.status
    return row.status.model_copy(update={"state": ServiceState.DELETING})


def _deployment(row: DeploymentRow, image: _Built) -> Deployment:
    return Deployment(
        id=row.id,
        image=image.reference,
        digest=image.manifest.digest,
        settings=row.settings.for_replica(),
        weight=row.weight,
        generation=row.generation,
        created_at=row.created_at,
    )


def _to_desired(
    row: ServiceRow,
    deployments: Iterable[DeploymentRow],
    images: Mapping[int, _Built],
    keys: tuple[KeyHash, ...],
) -> DesiredService:
    settings = row.settings
    return DesiredService(
        id=row.id,
        name=row.name,
        generation=row.generation,
        replicas=settings.replicas,
        max_replicas=settings.max_replicas,
        idle_time=settings.idle_time,
        sleeps=settings.replicas == 0,
        max_concurrent_requests=settings.max_concurrent_requests,
        max_queue_wait=settings.max_queue_wait,
        cors_origins=settings.cors_origins,
        scoring_timeout=settings.scoring_timeout,
        capture=_capture(settings),
        judged=settings.judged,
        auth=settings.auth,
        clients=settings.clients,
        keys=keys,
        candidate=None if row.rollout is None else row.rollout.candidate,
        shadow=0 if row.rollout is None else row.rollout.shadow,
        sticky=settings.sticky,
        deployments=tuple(
            DesiredDeployment(
                id=one.id,
                target=row.target,
                image=images[one.image].reference,
                manifest=images[one.image].manifest,
                signature=images[one.image].signature,
                sample=images[one.image].sample,
                answer=images[one.image].answer,
                columns=images[one.image].columns,
                settings=one.settings.for_replica(),
                weight=one.weight,
            )
            for one in deployments
        ),
    )


def _capture(settings: ServiceSettings) -> DesiredCapture:
    return DesiredCapture(
        percent=settings.capture,
        space=settings.capture_space,
        when_full=settings.capture_when_full,
        durable=settings.capture_durable,
        drop=settings.capture_drop,
        hashed=settings.capture_hash,
        encrypted=settings.capture_encrypt,
    )
