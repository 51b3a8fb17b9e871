"""OCI image layouts, in a folder or an archive: read strictly, as a `Source`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from modelyard.domain.image import Platform
from modelyard.errors import IntegrityError, InvalidRequest, NotFound
from modelyard.images.oci.archive import Files, files_at
from modelyard.images.oci.attachments import (
    ATTACHMENTS,
    Attachment,
    found_attachments,
    read_listed,
)
from modelyard.images.oci.documents import (
    INDEXES,
    MANIFESTS,
    MAX_DOCUMENT,
    Descriptor,
    choose,
    read_index,
    read_manifest,
)
from modelyard.images.oci.source import Found, document, find, verified

MARK, INDEX_FILE = "oci-layout", "index.json"
VERSION = "1.0.0"
_DEEPEST = 3


class Layout:
    """An image layout, as a `Source`.

    Args:
        files: Its files.

    Raises:
        InvalidRequest: They are no layout of a version that is known.
        IntegrityError: There are files that do not belong there.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._check_version()
        self._index = read_index(self._document(INDEX_FILE), None)
        self._artifacts = read_listed((self._index.annotations or {}).get(ATTACHMENTS))

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self._files.name

    def find(self, platform: Platform | None) -> Found:
        """The image for a platform; for None, the only one there is. Raises as `source.find`."""
        return find(self, choose(self._index, platform, self.name), platform)

    def open(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob.

        Raises:
            NotFound: The layout lacks it.
            IntegrityError: It has other bytes than was promised.
        """
        path = blob_path(descriptor.digest)
        if (size := self._files.size(path)) != descriptor.size:
            raise IntegrityError(
                f"{self.name}: blob {descriptor.digest} has {size} bytes, not {descriptor.size}"
            )
        chunks = self._files.open(path)
        return verified(chunks, descriptor.digest, descriptor.size, self.name)

    def attachments(self, subject: Descriptor) -> list[Attachment]:
        """What is kept beside an image. Raises as `attachments.found_attachments`."""
        return found_attachments(self, (*self._index.manifests, *self._artifacts), subject)

    def check_complete(self) -> None:
        """See that there is every blob that is referred to, and nothing else.

        Raises:
            NotFound: A blob is missing.
            IntegrityError: There is a file that nothing refers to.
        """
        known = {MARK, INDEX_FILE}
        self._gather([*self._index.manifests, *self._artifacts], known)
        there = set(self._files.names())
        if missing := sorted(known - there):
            raise NotFound(
                f"{self.name} lacks `{missing[0]}`", hint="export or copy the image again"
            )
        if extra := sorted(there - known):
            raise IntegrityError(f"{self.name} holds `{extra[0][:200]}`, which is of no image")

    def _gather(self, descriptors: list[Descriptor], known: set[str], depth: int = 0) -> None:
        """Add the blobs that are referred to; none is read twice, however often that is said."""
        for one in descriptors:
            if (path := blob_path(one.digest)) in known:
                continue
            known.add(path)
            if one.media_type in MANIFESTS:
                manifest = read_manifest(document(self, one), one.media_type)
                known.add(blob_path(manifest.config.digest))
                known.update(blob_path(layer.digest) for layer in manifest.layers)
            elif one.media_type in INDEXES and depth < _DEEPEST:
                below = read_index(document(self, one), one.media_type)
                self._gather(below.manifests, known, depth + 1)

    def _check_version(self) -> None:
        try:
            stated = json.loads(self._document(MARK)).get("imageLayoutVersion")
        except (NotFound, ValueError, AttributeError, RecursionError) as error:
            raise InvalidRequest(f"{self.name} is no OCI image layout") from error
        if stated != VERSION:
            raise InvalidRequest(f"{self.name} is an image layout of a version that is not known")

    def _document(self, path: str) -> bytes:
        if self._files.size(path) > MAX_DOCUMENT:
            raise IntegrityError(f"{self.name}: `{path}` is longer than {MAX_DOCUMENT} bytes")
        return b"".join(self._files.open(path))


def open_layout(path: Path) -> Layout:
    """The layout in a folder or an archive of this machine. Raises as `Layout` and `files_at`."""
    return Layout(files_at(path))


def blob_path(digest: str) -> str:
    """Where a layout keeps a blob."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"
