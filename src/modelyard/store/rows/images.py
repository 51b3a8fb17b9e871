"""Images: what is in each of them, and the locks of their environments."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.domain.cause import Cause
from modelyard.domain.image import CheckReport, ImageState, LayerKind, Manifest, Package
from modelyard.domain.optimization import Optimization
from modelyard.domain.signature import Signature
from modelyard.schemas import BuildImage
from modelyard.store.columns import Base, Document, Sequence, one_of
from modelyard.store.rows.shared import DIGEST, LabelKind, of_workspace, sequence


class LockRow(Base):
    """A locked environment and the layer that was laid out from it."""

    __tablename__ = "environment_lock"

    key: Mapped[str] = mapped_column(primary_key=True)
    lock: Mapped[str]
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blob.digest"), index=True)
    size: Mapped[int] = mapped_column(Sequence)
    packages: Mapped[tuple[Package, ...]] = mapped_column(Document(tuple[Package, ...]))
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

    seq: Mapped[int] = sequence()
    id: Mapped[UUID] = mapped_column(unique=True)
    workspace: Mapped[str] = of_workspace()
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
    workspace: Mapped[str] = of_workspace()


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
    workspace: Mapped[str] = of_workspace()
