"""Models: registered versions, their files and labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from uuid import uuid4

from sqlalchemy import delete, select

from modelyard.domain.model import Imports, Model, ModelFile, ModelFormat
from modelyard.domain.search import Page, Search
from modelyard.domain.values import Reference
from modelyard.errors import InUse
from modelyard.schemas import ChangeLabels, RegisterModel
from modelyard.store import labels, search, versions
from modelyard.store.blobs import Blobs
from modelyard.store.labels import Labels
from modelyard.store.repository import Repository, insert_all
from modelyard.store.rows import (
    ImageModelRow,
    ImageRow,
    ModelFileRow,
    ModelLabelRow,
    ModelRow,
    Versioned,
)


class Models(Repository):
    """The model registry."""

    def add(
        self,
        workspace: str,
        request: RegisterModel,
        *,
        files: Sequence[ModelFile],
        format: ModelFormat,
        framework: str | None,
        created_by: str,
        imports: Imports | None = None,
    ) -> Model:
        """Register the next version. `files` are the request's, with their sizes.

        Raises:
            NotFound: A file's blob is not there (any more).
        """
        Blobs(self._session, self._clock).hold([file.digest for file in files])
        entries = Labels(dict(request.tags), dict(request.properties))
        row = ModelRow(
            id=uuid4(),
            workspace=workspace,
            name=request.name,
            version=versions.next_version(self._session, workspace, Versioned.MODEL, request.name),
            format=format,
            framework=framework,
            framework_version=request.framework_version,
            imports=imports,
            description=request.description,
            sample_input=request.sample_input,
            words=labels.words(request.name, request.description, entries),
            created_at=self._clock(),
            created_by=created_by,
        )
        self._session.add(row)
        self._session.flush()
        self._add_files(row.seq, files)
        labels.add(self._session, ModelLabelRow, workspace, row.seq, entries)
        return _to_domain(row, tuple(files), entries)

    def get(self, workspace: str, reference: Reference) -> Model:
        """One version; without a number in the reference, the latest that exists.

        Raises:
            NotFound: There is none; the hint names what there is.
        """
        row = versions.find(self._session, ModelRow, workspace, reference)
        return self._to_domain([row])[0]

    def search(self, workspace: str, wanted: Search) -> Page[Model]:
        """Versions that pass every filter, newest first."""
        search.refuse("models", wanted, "model", "image")
        found = search.labelled(self._session, ModelRow, ModelLabelRow, workspace, wanted)
        if wanted.version is not None:
            found = found.where(ModelRow.version == wanted.version)
        if wanted.framework is not None:
            found = found.where(ModelRow.framework == wanted.framework)
        return search.page(self._session, found, wanted, self._to_domain)

    def change_labels(self, workspace: str, reference: Reference, change: ChangeLabels) -> Model:
        """Change tags and description, add properties.

        Raises:
            NotFound: There is no such version.
            Conflict: A property exists with another value.
        """
        row = versions.find(self._session, ModelRow, workspace, reference)
        labels.apply(self._session, ModelLabelRow, row, f"model `{reference}`", change)
        return self._to_domain([row])[0]

    def delete(self, workspace: str, reference: Reference) -> None:
        """Delete a version; its bytes are freed by a later collection.

        Raises:
            NotFound: There is no such version.
            InUse: Images need it; `details["users"]` lists them.
        """
        row = versions.find(self._session, ModelRow, workspace, reference)
        users = self._users(row.seq)
        if users:
            raise InUse(
                f"model `{row.name}:{row.version}` is needed by {labels.listed(users, 'image')}",
                hint="delete these images first",
                details={"users": users},
            )
        self._session.execute(delete(ModelRow).where(ModelRow.seq == row.seq))

    def _users(self, model: int) -> list[str]:
        query = (
            select(ImageRow.name, ImageRow.version)
            .join(ImageModelRow, ImageModelRow.image == ImageRow.seq)
            .where(ImageModelRow.model == model)
            .order_by(ImageRow.seq)
        )
        return [f"{name}:{version}" for name, version in self._session.execute(query)]

    def _add_files(self, model: int, files: Sequence[ModelFile]) -> None:
        insert_all(
            self._session,
            ModelFileRow,
            (
                {"model": model, "position": position, **file.model_dump()}
                for position, file in enumerate(files)
            ),
        )

    def _files(self, models: Sequence[int]) -> dict[int, tuple[ModelFile, ...]]:
        query = (
            select(ModelFileRow.model, ModelFileRow.path, ModelFileRow.digest, ModelFileRow.size)
            .where(ModelFileRow.model.in_(models))
            .order_by(ModelFileRow.model, ModelFileRow.position)
        )
        return {
            model: tuple(
                ModelFile(path=file.path, digest=file.digest, size=file.size) for file in files
            )
            for model, files in groupby(self._session.execute(query), key=lambda file: file.model)
        }

    def _to_domain(self, rows: Sequence[ModelRow]) -> list[Model]:
        sequence = [row.seq for row in rows]
        files = self._files(sequence)
        entries = labels.load(self._session, ModelLabelRow, sequence)
        return [_to_domain(row, files[row.seq], entries[row.seq]) for row in rows]


def _to_domain(row: ModelRow, files: tuple[ModelFile, ...], entries: Labels) -> Model:
    return Model(
        id=row.id,
        workspace=row.workspace,
        name=row.name,
        version=row.version,
        format=row.format,
        framework=row.framework,
        framework_version=row.framework_version,
        imports=row.imports,
        description=row.description,
        tags=entries.tags,
        properties=entries.properties,
        files=files,
        sample_input=row.sample_input,
        created_at=row.created_at,
        created_by=row.created_by,
    )
