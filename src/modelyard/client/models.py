"""Models: register, find, label, download, delete."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import JsonValue

from modelyard.client.collection import Collection
from modelyard.client.files import LocalFile, StrPath, collect, from_stream
from modelyard.client.transfer import Progress, download, upload
from modelyard.domain.model import Model
from modelyard.domain.search import Page
from modelyard.domain.validation import compose
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InsufficientStorage, InvalidRequest
from modelyard.schemas import RegisterModel


class Models(Collection[Model]):
    """The model registry."""

    _kind = "model"
    _item = Model
    _page = Page[Model]

    def register(
        self,
        name: str,
        source: StrPath | BinaryIO,
        *,
        file_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        framework: str | None = None,
        framework_version: str | None = None,
        sample_input: JsonValue = None,
        progress: Progress | None = None,
    ) -> Model:
        """Register the next version of a model.

        Bytes are streamed: memory does not grow with the file. A folder keeps its paths.

        Args:
            name: Name of the model; the same name again gives the next version.
            source: A file, a folder, or an open binary stream, which is not closed.
            file_name: Name of the file that a stream becomes; unset takes the stream's own.
            tags: Labels that may change later.
            properties: Facts that never change.
            description: Free text.
            framework: What trained it, such as `scikit-learn`; unset guesses from the format.
            framework_version: Its version.
            sample_input: A request body that the model can score; images are checked with it.
            progress: Called with bytes sent and bytes in all, from the threads that send.

        Raises:
            InvalidRequest: A name, a file or a label cannot be accepted.
            IntegrityError: The bytes arrived changed.
            InsufficientStorage: The server's disk is full.
        """
        labels = {
            "name": name,
            "tags": dict(tags or {}),
            "properties": dict(properties or {}),
            "description": description,
            "framework": framework,
            "framework_version": framework_version,
            "sample_input": sample_input,
        }
        return self.register_files(labels, _local_files(source, file_name), progress)

    def register_files(
        self, fields: Mapping[str, Any], files: list[LocalFile], progress: Progress | None = None
    ) -> Model:
        """Register collected files; `fields` are those of `RegisterModel`, without its files."""
        # Checked before gigabytes are sent; the digest stands in for those that follow.
        places = [{"path": file.place, "digest": _NO_DIGEST} for file in files]
        request = compose(RegisterModel, {**fields, "files": places}, "the model")
        stored = upload(self._connection, files, progress)
        request = request.model_copy(update={"files": stored})
        return self._connection.create("POST", "/models", request, Model)

    def download(
        self,
        reference: str,
        target: StrPath,
        *,
        exist_ok: bool = False,
        progress: Progress | None = None,
    ) -> Path:
        """Write a model's files below a folder, every digest verified, and return the folder.

        The files appear when all of them are there. Nothing is written outside the folder.

        Args:
            reference: `iris:3`, or `iris` for the latest version.
            target: Folder to create.
            exist_ok: The folder may exist; files of the same path are replaced.
            progress: Called with bytes received and bytes in all.

        Raises:
            NotFound: There is no such model.
            Conflict: The folder exists, or something in it is in the way.
            IntegrityError: The bytes are not the registered ones.
            InsufficientStorage: The local disk is full.
        """
        model = self.get(reference)
        folder = Path(target)
        if folder.exists() and not exist_ok:
            raise Conflict(
                f"`{folder}` exists already",
                hint="choose another folder, or say that its files may be replaced",
            )
        with _local_problems(folder), _staging(folder) as staged:
            download(self._connection, model.files, staged, progress)
            _publish(staged, folder, [file.path for file in model.files])
        return folder

    def delete(self, reference: str) -> None:
        """Delete a version; its number is never used again.

        Raises:
            NotFound: There is none.
            InUse: An image needs it; `details["users"]` lists which.
        """
        self._connection.request("DELETE", self._path(reference))

    def _path(self, reference: str) -> str:
        return version_path("model", reference)


_NO_DIGEST = f"sha256:{'0' * 64}"


def version_path(kind: str, reference: str) -> str:
    """The route of one version of a model or an image."""
    name, version = Reference.parse(reference, kind)
    return f"/{kind}s/{name}/versions/{'latest' if version is None else version}"


def _local_files(source: StrPath | BinaryIO, file_name: str | None) -> list[LocalFile]:
    if isinstance(source, str | os.PathLike):
        return collect(source)
    if not hasattr(source, "read"):
        raise InvalidRequest(
            f"a model cannot be registered from a {type(source).__name__}",
            hint="give the path of a file or folder, or an open binary stream",
        )
    return [from_stream(source, file_name)]


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """An empty folder in the same file system, removed at the end if it is still there."""
    parent = folder if folder.is_dir() else folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    outer = Path(tempfile.mkdtemp(prefix=".modelyard-", dir=parent))
    staged = outer / "files"
    staged.mkdir()  # the outer one is private; this one has the usual permissions
    try:
        yield staged
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def _publish(staged: Path, folder: Path, paths: list[str]) -> None:
    if not folder.exists():
        staged.rename(folder)
        return
    inside = folder.resolve()
    for path in paths:
        place = folder / path
        if not place.parent.resolve().is_relative_to(inside) or place.is_dir():
            raise Conflict(
                f"`{place}` cannot be written: a folder or a link is in the way",
                hint="download to a new folder",
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        (staged / path).replace(place)


@contextmanager
def _local_problems(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InsufficientStorage(
                f"the disk of `{folder}` is full", hint="make room there, then try again"
            ) from error
        raise Conflict(
            f"cannot write `{folder}`: {error.strerror}", hint="choose another folder"
        ) from error
