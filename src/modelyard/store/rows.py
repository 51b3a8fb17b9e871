"""The tables. Rows never leave this folder: repositories take and return domain types.

`seq` counts rows in the order of their creation, which is the order of listings; clocks may step.
"""

from __future__ import annotations

import datetime as dates
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.domain.cause import Cause
from modelyard.domain.change import ChangeOutcome
from modelyard.domain.image import CheckReport, ImageState, LayerKind, Manifest, Package
from modelyard.domain.model import Imports, ModelFormat
from modelyard.domain.operation import OperationKind, OperationState
from modelyard.domain.optimization import Optimization
from modelyard.domain.principal import Role
from modelyard.domain.rollout import Rollout
from modelyard.domain.service import KeySlot, ObservedState, ServiceSettings, ServiceStatus
from modelyard.domain.signature import Signature
from modelyard.schemas import BuildImage
from modelyard.store.columns import Base, Document, Json, Line, Sequence, one_of
from modelyard_runtime.families import Figures

DIGEST = String(71)


class Versioned(StrEnum):
    """What has numbered versions."""

    MODEL = "model"
    IMAGE = "image"


class LabelKind(StrEnum):
    """Tags change; properties are only added."""

    TAG = "tag"
    PROPERTY = "property"


class BlobState(StrEnum):
    """Where a blob stands on its way out."""

    LIVE = "live"
    CONDEMNED = "condemned"
    DELETING = "deleting"


def _workspace() -> Mapped[str]:
    return mapped_column(ForeignKey("workspace.name"))


def _seq() -> Mapped[int]:
    return mapped_column(Sequence, primary_key=True, autoincrement=True)


class WorkspaceRow(Base):
    """A tenant."""

    __tablename__ = "workspace"

    name: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class PrincipalRow(Base):
    """A caller."""

    __tablename__ = "principal"
    __table_args__ = (UniqueConstraint("workspace", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workspace: Mapped[str] = _workspace()
    name: Mapped[str]
    role: Mapped[Role] = mapped_column(one_of(Role, "role"))
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]


class CounterRow(Base):
    """The last version given to a name. It outlives the versions, so no number comes twice."""

    __tablename__ = "version_counter"

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    kind: Mapped[Versioned] = mapped_column(one_of(Versioned, "kind"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    last: Mapped[int]


class BlobRow(Base):
    """Bytes in the blob store."""

    __tablename__ = "blob"
    __table_args__ = (
        CheckConstraint("length(digest) = 71", name="digest"),
        CheckConstraint("size >= 0", name="size"),
        Index(None, "state", "leased_until"),
    )

    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    size: Mapped[int] = mapped_column(Sequence)
    state: Mapped[BlobState] = mapped_column(one_of(BlobState, "state"))
    leased_until: Mapped[datetime]
    condemned_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class ModelRow(Base):
    """One version of a model."""

    __tablename__ = "model"
    __table_args__ = (
        UniqueConstraint("workspace", "name", "version"),
        Index(None, "workspace", "name", "seq"),
        CheckConstraint("version >= 1", name="version"),
        Index(None, "workspace", "seq"),
        Index(None, "workspace", "framework", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = _seq()
    id: Mapped[UUID] = mapped_column(unique=True)
    workspace: Mapped[str] = _workspace()
    name: Mapped[str]
    version: Mapped[int]
    format: Mapped[ModelFormat] = mapped_column(one_of(ModelFormat, "format"))
    framework: Mapped[str | None]
    framework_version: Mapped[str | None]
    imports: Mapped[Imports | None] = mapped_column(Document(Imports))
    description: Mapped[str]
    sample_input: Mapped[Any] = mapped_column(Json(), nullable=True)
    words: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class ModelFileRow(Base):
    """One file of a model."""

    __tablename__ = "model_file"
    __table_args__ = (UniqueConstraint("model", "path"),)

    model: Mapped[int] = mapped_column(
        ForeignKey("model.seq", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str]
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)
    size: Mapped[int] = mapped_column(Sequence)


class ModelLabelRow(Base):
    """A tag or a property of a model."""

    __tablename__ = "model_label"
    __table_args__ = (
        Index(None, "workspace", "kind", "key", "value", "owner"),
        Index(None, "workspace", "kind", "key", "owner"),
    )

    owner: Mapped[int] = mapped_column(
        ForeignKey("model.seq", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[LabelKind] = mapped_column(one_of(LabelKind, "kind"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    workspace: Mapped[str] = _workspace()


class LockRow(Base):
    """A locked environment and the layer that was laid out from it."""

    __tablename__ = "environment_lock"

    key: Mapped[str] = mapped_column(primary_key=True)
    lock: Mapped[str]
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)
    size: Mapped[int] = mapped_column(Sequence)
    packages: Mapped[tuple[Package, ...]] = mapped_column(Document(tuple[Package, ...]))
    created_at: Mapped[datetime]


class CompressedLayerRow(Base):
    """The blob that holds a layer in gzip. It goes with the layer."""

    __tablename__ = "compressed_layer"

    layer: Mapped[str] = mapped_column(
        DIGEST, ForeignKey("blob.digest", ondelete="CASCADE"), primary_key=True
    )
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)
    size: Mapped[int] = mapped_column(Sequence)
    created_at: Mapped[datetime]


class OperationRow(Base):
    """A long-running request."""

    __tablename__ = "operation"
    __table_args__ = (
        Index(None, "workspace", "seq"),
        Index(None, "workspace", "resource", "seq"),
        Index(None, "state"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = _seq()
    id: Mapped[UUID] = mapped_column(unique=True)
    workspace: Mapped[str] = _workspace()
    kind: Mapped[OperationKind] = mapped_column(one_of(OperationKind, "kind"))
    state: Mapped[OperationState] = mapped_column(one_of(OperationState, "state"))
    resource: Mapped[str]
    error: Mapped[Any] = mapped_column(Json(), nullable=True)
    result: Mapped[Any] = mapped_column(Json(), nullable=True)
    log_lines: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    created_by: Mapped[str]


class OperationLineRow(Base):
    """One line of an operation's log."""

    __tablename__ = "operation_line"

    operation: Mapped[int] = mapped_column(
        ForeignKey("operation.seq", ondelete="CASCADE"), primary_key=True
    )
    sequence: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime]
    source: Mapped[str] = mapped_column(Line())
    text: Mapped[str] = mapped_column(Line())


class IdempotencyRow(Base):
    """What a request with an idempotency key was answered."""

    __tablename__ = "idempotency"
    __table_args__ = (Index(None, "created_at"),)

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    principal: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    answer: Mapped[str]
    created_at: Mapped[datetime]


class ImageRow(Base):
    """One version of an image."""

    __tablename__ = "image"
    __table_args__ = (
        UniqueConstraint("workspace", "name", "version"),
        Index(None, "workspace", "name", "seq"),
        CheckConstraint("version >= 1", name="version"),
        Index(None, "workspace", "seq"),
        Index(None, "workspace", "inputs"),
        Index(None, "state"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = _seq()
    id: Mapped[UUID] = mapped_column(unique=True)
    workspace: Mapped[str] = _workspace()
    name: Mapped[str]
    version: Mapped[int]
    state: Mapped[ImageState] = mapped_column(one_of(ImageState, "state"))
    inputs: Mapped[str]
    digest: Mapped[str | None] = mapped_column(DIGEST)
    manifest: Mapped[Manifest | None] = mapped_column(Document(Manifest))
    signature: Mapped[Signature | None] = mapped_column(Document(Signature))
    request: Mapped[BuildImage] = mapped_column(Document(BuildImage))
    packages: Mapped[tuple[Package, ...]] = mapped_column(Document(tuple[Package, ...]))
    report: Mapped[CheckReport | None] = mapped_column(Document(CheckReport))
    optimization: Mapped[Optimization | None] = mapped_column(Document(Optimization))
    cause: Mapped[Cause | None] = mapped_column(Document(Cause))
    description: Mapped[str]
    words: Mapped[str]
    operation: Mapped[UUID] = mapped_column(ForeignKey("operation.id"), index=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class ImageModelRow(Base):
    """A model inside an image. A failed image keeps the name but no hold on the model."""

    __tablename__ = "image_model"
    __table_args__ = (Index(None, "name", "version", "image"),)

    image: Mapped[int] = mapped_column(
        ForeignKey("image.seq", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[int | None] = mapped_column(ForeignKey("model.seq"), index=True)
    name: Mapped[str]
    version: Mapped[int]


class ImageFileRow(Base):
    """An uploaded file that a build still reads; gone when the build has ended."""

    __tablename__ = "image_file"

    image: Mapped[int] = mapped_column(
        ForeignKey("image.seq", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)


class ImageLayerRow(Base):
    """A layer of a built image."""

    __tablename__ = "image_layer"

    image: Mapped[int] = mapped_column(
        ForeignKey("image.seq", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[LayerKind] = mapped_column(one_of(LayerKind, "kind"))
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)


class ImageBaseRow(Base):
    """A layer of what a built image stands on."""

    __tablename__ = "image_base"

    image: Mapped[int] = mapped_column(
        ForeignKey("image.seq", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)


class ImageSbomRow(Base):
    """The SBOM of a built image."""

    __tablename__ = "image_sbom"

    image: Mapped[int] = mapped_column(
        ForeignKey("image.seq", ondelete="CASCADE"), primary_key=True
    )
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)


class ImagePackageRow(Base):
    """A package of a built image, by its name in the usual form: what finds images by it."""

    __tablename__ = "image_package"
    __table_args__ = (Index(None, "workspace", "name", "image", "version"),)

    image: Mapped[int] = mapped_column(
        ForeignKey("image.seq", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str] = _workspace()


class ImageLabelRow(Base):
    """A tag or a property of an image."""

    __tablename__ = "image_label"
    __table_args__ = (
        Index(None, "workspace", "kind", "key", "value", "owner"),
        Index(None, "workspace", "kind", "key", "owner"),
    )

    owner: Mapped[int] = mapped_column(
        ForeignKey("image.seq", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[LabelKind] = mapped_column(one_of(LabelKind, "kind"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    workspace: Mapped[str] = _workspace()


class AgentRow(Base):
    """One host's agent."""

    __tablename__ = "agent"

    name: Mapped[str] = mapped_column(primary_key=True)
    workspace: Mapped[str] = _workspace()
    fence: Mapped[int]
    generation: Mapped[int]
    last_seen: Mapped[datetime | None]
    observed: Mapped[ObservedState | None] = mapped_column(Document(ObservedState))
    created_at: Mapped[datetime]


class ServiceRow(Base):
    """A service, as it is wanted and as it was last seen."""

    __tablename__ = "service"
    __table_args__ = (
        UniqueConstraint("workspace", "name"),
        Index(None, "workspace", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = _seq()
    id: Mapped[UUID] = mapped_column(unique=True)
    workspace: Mapped[str] = _workspace()
    name: Mapped[str]
    target: Mapped[str]
    agent: Mapped[str] = mapped_column(ForeignKey("agent.name"), index=True)
    image: Mapped[int] = mapped_column(ForeignKey("image.seq"), index=True)
    settings: Mapped[ServiceSettings] = mapped_column(Document(ServiceSettings))
    rollout: Mapped[Rollout | None] = mapped_column(Document(Rollout))
    generation: Mapped[int]
    deleting: Mapped[bool]
    status: Mapped[ServiceStatus] = mapped_column(Document(ServiceStatus))
    description: Mapped[str]
    words: Mapped[str]
    log_lines: Mapped[int] = mapped_column(Sequence, default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    created_by: Mapped[str]


class DeploymentRow(Base):
    """One image of a service; `settings` are the whole service's while it was the wanted one."""

    __tablename__ = "deployment"
    __table_args__ = (CheckConstraint("weight BETWEEN 0 AND 100", name="weight"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    service: Mapped[int] = mapped_column(ForeignKey("service.seq", ondelete="CASCADE"), index=True)
    image: Mapped[int] = mapped_column(ForeignKey("image.seq"), index=True)
    settings: Mapped[ServiceSettings] = mapped_column(Document(ServiceSettings))
    weight: Mapped[int]
    served: Mapped[int] = mapped_column(default=0, server_default="0")
    """Its weight in the last state of the service that was reached; 0: it was not in that."""
    generation: Mapped[int]
    created_at: Mapped[datetime]


class ServiceChangeRow(Base):
    """What a service was asked to be from one generation on, and what became of it.

    The image is kept by name: history forbids no delete.
    """

    __tablename__ = "service_change"

    service: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    generation: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[str]
    settings: Mapped[ServiceSettings] = mapped_column(Document(ServiceSettings))
    traffic: Mapped[dict[str, int]] = mapped_column(Document(dict[str, int]), server_default="{}")
    rollout: Mapped[str] = mapped_column(server_default="")
    at: Mapped[datetime]
    by: Mapped[str]
    outcome: Mapped[ChangeOutcome] = mapped_column(one_of(ChangeOutcome, "outcome"))
    reason: Mapped[str]
    cause: Mapped[Cause | None] = mapped_column(Document(Cause))


class ServiceKeyRow(Base):
    """What recognises a key of a service."""

    __tablename__ = "service_key"

    service: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    slot: Mapped[KeySlot] = mapped_column(one_of(KeySlot, "slot"), primary_key=True)
    key_id: Mapped[str] = mapped_column(unique=True)
    hash: Mapped[str]
    token_key: Mapped[str] = mapped_column(server_default="")
    """Empty for keys that are older than tokens."""


class ServiceLabelRow(Base):
    """A tag or a property of a service."""

    __tablename__ = "service_label"
    __table_args__ = (
        Index(None, "workspace", "kind", "key", "value", "owner"),
        Index(None, "workspace", "kind", "key", "owner"),
    )

    owner: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[LabelKind] = mapped_column(one_of(LabelKind, "kind"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    workspace: Mapped[str] = _workspace()


class ServiceMinuteRow(Base):
    """What one deployment of a service counted in one minute.

    Deployments and images are kept by name: they may be gone.
    """

    __tablename__ = "service_minute"

    service: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    at: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    deployment: Mapped[str] = mapped_column(primary_key=True)
    """Empty: what the gateway answered without one."""
    image: Mapped[str]
    figures: Mapped[Figures] = mapped_column(Document(Figures))


class LogStreamRow(Base):
    """The log of one replica: what is expected next, what is kept, what was dropped."""

    __tablename__ = "log_stream"
    __table_args__ = (UniqueConstraint("service", "replica"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = _seq()
    service: Mapped[int] = mapped_column(ForeignKey("service.seq", ondelete="CASCADE"))
    replica: Mapped[str]
    epoch: Mapped[int] = mapped_column(Sequence)
    next: Mapped[int] = mapped_column(Sequence)
    kept: Mapped[int] = mapped_column(Sequence)
    dropped: Mapped[int] = mapped_column(Sequence)
    updated_at: Mapped[datetime]


class LogPieceRow(Base):
    """Some lines of a replica's log; `first` numbers the first of them within the service."""

    __tablename__ = "log_piece"
    __table_args__ = (Index(None, "stream", "first"),)

    service: Mapped[int] = mapped_column(
        ForeignKey("service.seq", ondelete="CASCADE"), primary_key=True
    )
    first: Mapped[int] = mapped_column(Sequence, primary_key=True)
    lines: Mapped[int]
    stream: Mapped[int] = mapped_column(ForeignKey("log_stream.seq", ondelete="CASCADE"))
    text: Mapped[str] = mapped_column(Line())
    size: Mapped[int]
    time: Mapped[datetime]


class CaptureStreamRow(Base):
    """What an agent sends of captured records: which number is expected next."""

    __tablename__ = "capture_stream"

    agent: Mapped[str] = mapped_column(
        ForeignKey("agent.name", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int] = mapped_column(Sequence)
    next: Mapped[int] = mapped_column(Sequence)
    waiting: Mapped[dict[str, int]] = mapped_column(Json())
    """Segments that were still on the host at the last report, by the id of their service."""
    reported_at: Mapped[datetime | None]


class CaptureSegmentRow(Base):
    """A file of captured records. It outlives its service: the records belong to the workspace.

    The row stays when the file is deleted, so that the same segment is never taken in twice.
    """

    __tablename__ = "capture_segment"
    __table_args__ = (
        UniqueConstraint("workspace", "name"),
        Index(None, "workspace", "service_name", "first"),
        Index(None, "workspace", "service"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = _seq()
    workspace: Mapped[str] = _workspace()
    name: Mapped[str]
    service: Mapped[UUID]
    service_name: Mapped[str]
    model: Mapped[str]
    version: Mapped[int]
    image: Mapped[str]
    date: Mapped[dates.date]
    rows: Mapped[int] = mapped_column(Sequence)
    first: Mapped[datetime]
    last: Mapped[datetime]
    size: Mapped[int] = mapped_column(Sequence)
    digest: Mapped[str] = mapped_column(DIGEST)
    requests: Mapped[int] = mapped_column(Sequence)
    forgotten: Mapped[int] = mapped_column(Sequence, server_default="0")
    """Requests whose records were taken out of the file."""
    deleted: Mapped[bool]


class CaptureTallyRow(Base):
    """What one writer has counted of the requests to a service."""

    __tablename__ = "capture_tally"
    __table_args__ = (Index(None, "workspace", "service_name"),)

    workspace: Mapped[str] = mapped_column(ForeignKey("workspace.name"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    service: Mapped[UUID]
    service_name: Mapped[str]
    answered: Mapped[int] = mapped_column(Sequence)
    captured: Mapped[int] = mapped_column(Sequence)
    sampled_out: Mapped[int] = mapped_column(Sequence)
    dropped: Mapped[int] = mapped_column(Sequence)
