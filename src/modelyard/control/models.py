"""Models: registers uploaded files as versions, finds, labels and deletes them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from modelyard.blobs.base import BlobStore
from modelyard.control.formats import Recognised, recognise
from modelyard.control.idempotency import earlier_answer, remember_answer
from modelyard.control.pickles.scan import scan
from modelyard.domain.model import Model, ModelFile
from modelyard.domain.principal import Principal
from modelyard.domain.search import Page, Search
from modelyard.domain.values import Reference
from modelyard.errors import InvalidRequest, NotFound
from modelyard.schemas import ChangeLabels, RegisterModel
from modelyard.store import Database

HOLD = timedelta(hours=1)
"""How long the bytes are held while their model is being registered."""


class Models:
    """What callers may do with models."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    def register(
        self, principal: Principal, request: RegisterModel, key: str | None = None
    ) -> Model:
        """Register the next version; with a key, a repeat gets the answer of the first time.

        Raises:
            InvalidRequest: Two paths cannot be in one folder.
            NotFound: A file was not uploaded, or too long ago.
            Conflict: The key was used for another request.
        """
        refuse_collisions(file.path for file in request.files)
        with self._database.write() as tx:
            earlier = earlier_answer(tx, principal, key, request, Model)
            if earlier is not None:
                return earlier
            digests = {file.digest for file in request.files}
            sizes = tx.blobs.hold(digests, datetime.now(UTC) + HOLD)
        # Only what is held first and looked at then cannot be collected in between.
        self._refuse_missing(digests)
        files = [
            ModelFile(path=file.path, digest=file.digest, size=sizes[file.digest])
            for file in request.files
        ]
        return self._add(principal, request, files, key)

    def get(self, principal: Principal, reference: Reference) -> Model:
        """One version of a model; the latest when the reference names none.

        Raises:
            NotFound: There is none; the hint names what there is.
        """
        with self._database.read() as tx:
            return tx.models.get(principal.workspace, reference)

    def search(self, principal: Principal, search: Search) -> Page[Model]:
        """Models that match, newest first."""
        with self._database.read() as tx:
            return tx.models.search(principal.workspace, search)

    def change_labels(
        self, principal: Principal, reference: Reference, change: ChangeLabels
    ) -> Model:
        """Change tags or the description; add properties.

        Raises:
            NotFound: There is no such version.
            Conflict: A property exists with another value.
        """
        with self._database.write() as tx:
            return tx.models.change_labels(principal.workspace, reference, change)

    def delete(self, principal: Principal, reference: Reference) -> None:
        """Delete a version; its number is not given again.

        Raises:
            NotFound: There is no such version.
            InUse: Images need it; `details["users"]` lists them.
        """
        with self._database.write() as tx:
            tx.models.delete(principal.workspace, reference)

    def _add(
        self,
        principal: Principal,
        request: RegisterModel,
        files: Sequence[ModelFile],
        key: str | None,
    ) -> Model:
        recognised, imports = recognise(files, self._read), scan(files, self._read)
        with self._database.write() as tx:
            earlier = earlier_answer(tx, principal, key, request, Model)
            if earlier is not None:
                return earlier
            version = _version(request, recognised)
            model = tx.models.add(
                principal.workspace,
                request.model_copy(update={"framework_version": version}),
                files=files,
                format=recognised.format,
                framework=request.framework or recognised.framework,
                created_by=principal.name,
                imports=imports,
            )
            remember_answer(tx, principal, key, request, model)
        return model

    def _refuse_missing(self, digests: Iterable[str]) -> None:
        missing = sorted(digest for digest in digests if not self._blobs.exists(digest))
        if missing:
            raise NotFound(
                f"{len(missing)} files are not in the blob store, the first is `{missing[0]}`",
                hint="upload them again",
                details={"missing": missing[:100]},
            )

    def _read(self, digest: str, offset: int, length: int) -> bytes:
        return b"".join(self._blobs.open(digest, offset, length))


def _version(request: RegisterModel, recognised: Recognised) -> str | None:
    """The version as it was said, or as the file says it of the same framework."""
    if request.framework_version is not None:
        return request.framework_version
    same = request.framework in (None, recognised.framework)
    return recognised.version if same else None


def refuse_collisions(paths: Iterable[str]) -> None:
    """Refuse paths that would meet in a folder, on whatever file system it is laid out.

    Raises:
        InvalidRequest: Two are equal but for case or Unicode form, or one lies inside the other.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
        parts = plain.split("/")
        inside = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        other = files.get(plain) or folders.get(plain)
        other = other or next((files[folder] for folder in inside if folder in files), None)
        if other is not None:
            raise InvalidRequest(
                f"`{path}` and `{other}` cannot be in one folder",
                hint="rename one; neither case nor Unicode form makes a difference",
            )
        files[plain] = path
        folders.update(dict.fromkeys(inside, path))
