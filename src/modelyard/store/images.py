"""Images: builds and what they made, the models inside, the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

from sqlalchemy import delete, select, update

from modelyard.domain.build import BuildOptions
from modelyard.domain.cause import Cause
from modelyard.domain.image import CheckReport, Image, ImageState, Manifest, Package, marks_of
from modelyard.domain.model import Model
from modelyard.domain.optimization import Optimization
from modelyard.domain.search import Page, Search
from modelyard.domain.signature import Signature
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InUse, NotFound
from modelyard.schemas import BuildImage, ChangeLabels
from modelyard.store import labels, search, versions
from modelyard.store.blobs import LEASE, Blobs
from modelyard.store.contents import images_with, models_inside
from modelyard.store.labels import Labels
from modelyard.store.packages import Packages
from modelyard.store.repository import Repository, insert_all
from modelyard.store.rows import (
    DeploymentRow,
    ImageBaseRow,
    ImageFileRow,
    ImageLabelRow,
    ImageLayerRow,
    ImageModelRow,
    ImageRow,
    ImageSbomRow,
    ModelRow,
    OperationRow,
    ServiceRow,
    Versioned,
)


class Images(Repository):
    """The image registry."""

    def add(
        self,
        workspace: str,
        request: BuildImage,
        models: Sequence[Model],
        inputs: str,
        operation: UUID,
        created_by: str,
    ) -> Image:
        """Begin the next version, in state Running; its files and models are held from now on.

        `inputs` is a digest of everything that goes in. The operation is renamed after the image.

        Raises:
            NotFound: A file's blob or a model is not there (any more).
        """
        Blobs(self._session, self._clock).hold([file.digest for file in request.files])
        row = self._begin(workspace, request, inputs, operation, created_by)
        self._add_models(row, models)
        self._add_files(row.seq, request)
        return self._one(row)

    def take_in(
        self,
        workspace: str,
        request: BuildImage,
        manifest: Manifest,
        operation: UUID,
        created_by: str,
    ) -> Image:
        """Begin the next version of an image that was built elsewhere; `succeed` ends it.

        The models inside are named, and hold none of this workspace: they came with the image.
        """
        row = self._begin(workspace, request, manifest.digest, operation, created_by)
        insert_all(
            self._session,
            ImageModelRow,
            (
                {
                    "image": row.seq,
                    "position": position,
                    "model": None,
                    "name": model.name,
                    "version": model.version,
                }
                for position, model in enumerate(manifest.models)
            ),
        )
        return self._one(row)

    def _begin(
        self, workspace: str, request: BuildImage, inputs: str, operation: UUID, created_by: str
    ) -> ImageRow:
        entries = Labels(dict(request.tags), dict(request.properties))
        row = ImageRow(
            id=uuid4(),
            workspace=workspace,
            name=request.name,
            version=versions.next_version(self._session, workspace, Versioned.IMAGE, request.name),
            state=ImageState.RUNNING,
            inputs=inputs,
            request=request,
            packages=(),
            description=request.description,
            words=labels.words(request.name, request.description, entries),
            operation=operation,
            created_at=self._clock(),
            created_by=created_by,
        )
        self._session.add(row)
        self._session.flush()
        labels.add(self._session, ImageLabelRow, workspace, row.seq, entries)
        self._name_operation(row)
        return row

    def request(self, image: UUID) -> BuildImage:
        """What the build was asked for.

        Raises:
            NotFound: There is no image with this id.
        """
        return self._row(image).request

    def find_same(self, workspace: str, inputs: str, name: str | None = None) -> Image | None:
        """The newest image with these inputs that is built or being built, or null."""
        query = select(ImageRow).where(
            ImageRow.workspace == workspace,
            ImageRow.inputs == inputs,
            ImageRow.state.in_([ImageState.RUNNING, ImageState.SUCCEEDED]),
        )
        if name is not None:
            query = query.where(ImageRow.name == name)
        row = self._session.scalar(query.order_by(ImageRow.seq.desc()).limit(1))
        return None if row is None else self._one(row)

    def find_built(self, workspace: str, digest: str, name: str) -> Image | None:
        """The newest version of an image that has this digest, wherever it was built, or null."""
        query = select(ImageRow).where(
            ImageRow.workspace == workspace, ImageRow.name == name, ImageRow.digest == digest
        )
        row = self._session.scalar(query.order_by(ImageRow.seq.desc()).limit(1))
        return None if row is None else self._one(row)

    def succeed(
        self,
        image: UUID,
        manifest: Manifest,
        signature: Signature,
        packages: Sequence[Package],
        report: CheckReport | None,
        optimization: Optimization | None = None,
    ) -> Image:
        """End a build: the layers are held instead of the files; layers are recorded if new.

        Raises:
            Conflict: The build has ended before.
            NotFound: There is no image with this id, or no blob with the SBOM that was signed.
            Unavailable: A layer is being deleted at this moment: write it again.
        """
        row = self._running_row(image)
        self._add_layers(row.seq, manifest)
        self._add_sbom(row.seq, signature)
        Packages(self._session, self._clock).add(row, packages)
        row.state, row.manifest, row.digest = ImageState.SUCCEEDED, manifest, manifest.digest
        row.signature, row.packages = signature, tuple(packages)
        row.report, row.optimization = report, optimization
        self._release_files(row.seq)
        return self._one(row)

    def was_started(self, workspace: str, reference: Reference, report: CheckReport) -> None:
        """Keep what the first start of an image showed that was built where it could not run."""
        row = versions.find(self._session, ImageRow, workspace, reference)
        if row.report is None:
            row.report = report

    def fail(self, image: UUID, cause: Cause) -> Image:
        """End a build without success: its files and models are not held any longer.

        Raises:
            NotFound: There is no image with this id.
            Conflict: The build has ended before.
        """
        row = self._running_row(image)
        row.state, row.cause = ImageState.FAILED, cause
        self._release_files(row.seq)
        self._session.execute(
            update(ImageModelRow).where(ImageModelRow.image == row.seq).values(model=None)
        )
        return self._one(row)

    def sign_all(self, workspace: str, sign: Callable[[str, str | None], Signature]) -> int:
        """Sign every built image of a workspace, by its digest and its SBOM's; how many."""
        query = (
            select(ImageRow, ImageSbomRow.digest)
            .join(ImageSbomRow, ImageSbomRow.image == ImageRow.seq, isouter=True)
            .where(ImageRow.workspace == workspace, ImageRow.state == ImageState.SUCCEEDED)
        )
        rows = self._session.execute(query).all()
        for row, sbom in rows:
            assert row.manifest is not None, "it is built"
            row.signature = sign(row.manifest.digest, sbom)
        return len(rows)

    def running(self) -> tuple[Image, ...]:
        """Images of all workspaces in state Running, oldest first."""
        query = select(ImageRow).where(ImageRow.state == ImageState.RUNNING).order_by(ImageRow.seq)
        return tuple(self._to_domain(self._session.scalars(query).all()))

    def get(self, workspace: str, reference: Reference) -> Image:
        """One version; without a number in the reference, the latest that exists.

        Raises:
            NotFound: There is none; the hint names what there is.
        """
        return self._one(versions.find(self._session, ImageRow, workspace, reference))

    def latest_built(self, workspace: str, name: str) -> Image | None:
        """The newest version whose build succeeded, or null."""
        query = select(ImageRow).where(
            ImageRow.workspace == workspace,
            ImageRow.name == name,
            ImageRow.state == ImageState.SUCCEEDED,
        )
        row = self._session.scalar(query.order_by(ImageRow.version.desc()).limit(1))
        return None if row is None else self._one(row)

    def search(self, workspace: str, wanted: Search) -> Page[Image]:
        """Versions that pass every filter, newest first."""
        search.refuse("images", wanted, "framework", "image")
        found = search.labelled(self._session, ImageRow, ImageLabelRow, workspace, wanted)
        if wanted.version is not None:
            found = found.where(ImageRow.version == wanted.version)
        if wanted.model is not None:
            found = found.where(ImageRow.seq.in_(images_with(wanted.model)))
        return search.page(self._session, found, wanted, self._to_domain)

    def change_labels(self, workspace: str, reference: Reference, change: ChangeLabels) -> Image:
        """Change tags and description, add properties.

        Raises:
            NotFound: There is no such version.
            Conflict: A property exists with another value.
        """
        row = versions.find(self._session, ImageRow, workspace, reference)
        labels.apply(self._session, ImageLabelRow, row, f"image `{reference}`", change)
        return self._one(row)

    def withdraw(self, operation: UUID) -> None:
        """Forget the version that an operation is building, if it is: it will never be."""
        self._session.execute(
            delete(ImageRow).where(
                ImageRow.operation == operation, ImageRow.state == ImageState.RUNNING
            )
        )

    def delete(self, workspace: str, reference: Reference) -> None:
        """Delete a version; its bytes are freed by a later collection.

        Raises:
            NotFound: There is no such version.
            Conflict: It is being built.
            InUse: Services need it; `details["users"]` lists them.
        """
        row = versions.find(self._session, ImageRow, workspace, reference)
        subject = f"image `{row.name}:{row.version}`"
        if row.state is ImageState.RUNNING:
            raise Conflict(f"{subject} is being built", hint="wait until its build has ended")
        users = self._users(row.seq)
        if users:
            raise InUse(
                f"{subject} is needed by {labels.listed(users, 'service')}",
                hint="update these services to another image, or delete them first",
                details={"users": users},
            )
        self._session.execute(delete(ImageRow).where(ImageRow.seq == row.seq))

    def _users(self, image: int) -> list[str]:
        deployed = select(DeploymentRow.service).where(DeploymentRow.image == image)
        query = select(ServiceRow.name).where(
            (ServiceRow.image == image) | ServiceRow.seq.in_(deployed)
        )
        return list(self._session.scalars(query.order_by(ServiceRow.name)))

    def _row(self, image: UUID) -> ImageRow:
        row = self._session.scalar(select(ImageRow).where(ImageRow.id == image))
        if row is None:
            raise NotFound(f"image `{image}` not found", hint="it may have been deleted")
        return row

    def _running_row(self, image: UUID) -> ImageRow:
        row = self._row(image)
        if row.state is not ImageState.RUNNING:
            raise Conflict(f"the build of image `{row.name}:{row.version}` has ended: {row.state}")
        return row

    def _add_models(self, row: ImageRow, models: Sequence[Model]) -> None:
        query = select(ModelRow.id, ModelRow.seq).where(
            ModelRow.workspace == row.workspace,
            ModelRow.id.in_([model.id for model in models]),
        )
        sequence = {model: seq for model, seq in self._session.execute(query)}
        gone = next((model for model in models if model.id not in sequence), None)
        if gone is not None:
            raise NotFound(
                f"model `{gone.reference}` not found in workspace `{row.workspace}`",
                hint="it was deleted meanwhile; build with another version",
            )
        insert_all(
            self._session,
            ImageModelRow,
            (
                {
                    "image": row.seq,
                    "position": position,
                    "model": sequence[model.id],
                    "name": model.name,
                    "version": model.version,
                }
                for position, model in enumerate(models)
            ),
        )

    def _add_files(self, image: int, request: BuildImage) -> None:
        insert_all(
            self._session,
            ImageFileRow,
            (
                {"image": image, "position": position, "digest": file.digest}
                for position, file in enumerate(request.files)
            ),
        )

    def _add_layers(self, image: int, manifest: Manifest) -> None:
        blobs = Blobs(self._session, self._clock)
        for digest, size in manifest.stored.items():
            blobs.record(digest, size, self._clock() + LEASE)
        insert_all(
            self._session,
            ImageLayerRow,
            (
                {"image": image, "position": position, "kind": layer.kind, "digest": layer.digest}
                for position, layer in enumerate(manifest.layers)
            ),
        )
        base = () if manifest.base is None else manifest.base.layers
        insert_all(
            self._session,
            ImageBaseRow,
            (
                {"image": image, "position": position, "digest": layer.digest}
                for position, layer in enumerate(base)
            ),
        )

    def _add_sbom(self, image: int, signature: Signature) -> None:
        if signature.sbom is not None:
            Blobs(self._session, self._clock).hold([signature.sbom])
            values = {"image": image, "digest": signature.sbom}
            insert_all(self._session, ImageSbomRow, [values])

    def _release_files(self, image: int) -> None:
        self._session.execute(delete(ImageFileRow).where(ImageFileRow.image == image))

    def _name_operation(self, row: ImageRow) -> None:
        self._session.execute(
            update(OperationRow)
            .where(OperationRow.id == row.operation)
            .values(resource=f"image {row.name}:{row.version}")
        )

    def _one(self, row: ImageRow) -> Image:
        return self._to_domain([row])[0]

    def _to_domain(self, rows: Sequence[ImageRow]) -> list[Image]:
        sequence = [row.seq for row in rows]
        models = models_inside(self._session, sequence)
        entries = labels.load(self._session, ImageLabelRow, sequence)
        return [_to_domain(row, models.get(row.seq, ()), entries[row.seq]) for row in rows]


def _to_domain(row: ImageRow, models: tuple[str, ...], entries: Labels) -> Image:
    return Image(
        id=row.id,
        workspace=row.workspace,
        name=row.name,
        version=row.version,
        state=row.state,
        digest=row.digest,
        signature=row.signature,
        manifest=row.manifest,
        models=models,
        script=row.request.script,
        requirements=row.request.requirements,
        packages=row.packages,
        base=row.request.base,
        options=BuildOptions.model_validate(
            row.request.model_dump(include=set(BuildOptions.model_fields))
        ),
        marks=marks_of(row.manifest, row.packages, row.report),
        description=row.description,
        tags=entries.tags,
        properties=entries.properties,
        check=row.report,
        optimization=row.optimization,
        cause=row.cause,
        operation=row.operation,
        created_at=row.created_at,
        created_by=row.created_by,
    )
