"""Moves images: out as archives and to registries, in from both.

The server does it; callers send and get archives only. What comes in goes through `arrivals`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pydantic import JsonValue

from modelyard.blobs.base import BlobStore
from modelyard.control.arrivals import Arrivals
from modelyard.control.background import Background, Job
from modelyard.control.compressing import Compressor
from modelyard.domain.image import Image
from modelyard.domain.operation import Operation, OperationKind
from modelyard.domain.principal import Principal
from modelyard.domain.values import Reference, size_text
from modelyard.errors import InvalidRequest
from modelyard.images.builder import ImageBuilder
from modelyard.images.cancelling import go_on
from modelyard.images.oci.archive import ArchiveFiles
from modelyard.images.oci.attachments import artifact, kept_beside
from modelyard.images.oci.forms import (
    Archive,
    containerfile_archive,
    docker_archive,
    oci_archive,
)
from modelyard.images.oci.intake import carried_by, carried_in
from modelyard.images.oci.rendering import Part, Rendered, ready, render
from modelyard.images.registry.client import Repository
from modelyard.images.registry.reference import ImageName, parse_name
from modelyard.images.registry.referrers import pull_attachments, push_artifacts
from modelyard.images.registry.uploads import push_blob, push_manifest
from modelyard.schemas import (
    ExportImage,
    ImageForm,
    ImportImage,
    PullImage,
    PushedImage,
    PushImage,
)
from modelyard.store import Database


class Moving:
    """What callers may have moved.

    Args:
        database: Remembers images and operations.
        blobs: Holds the layers.
        background: Does the work.
        builder: Checks and signs what comes in.
    """

    def __init__(
        self, database: Database, blobs: BlobStore, background: Background, builder: ImageBuilder
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._background = background
        self._arrivals = Arrivals(database, blobs, builder)
        self._pushed: dict[str, str] = {}

    def export(self, principal: Principal, reference: Reference, request: ExportImage) -> Operation:
        """Make an image ready to be downloaded: what takes long is done before the first byte.

        Raises:
            NotFound: There is no such image.
            Conflict: It is not built, or stands on nothing.
        """
        image, operation = self._begin_with(principal, reference, OperationKind.IMAGE_EXPORT)

        def work(job: Job) -> JsonValue:
            archive = self._archive(image, request.form, job)
            job.log(f"{archive.size} bytes are ready")
            return {"size": archive.size}

        self._background.begin(operation, work)
        return operation

    def download(self, principal: Principal, reference: Reference, form: ImageForm) -> Archive:
        """The archive of an image; it begins at once when it was exported before.

        Raises:
            NotFound: There is no such image.
            Conflict: It is not built, or stands on nothing.
        """
        with self._database.read() as tx:
            image = tx.images.get(principal.workspace, reference)
        return self._archive(image, form, None)

    def import_(self, principal: Principal, request: ImportImage) -> Operation:
        """Take in an image from an archive that was uploaded; the result is its reference.

        Raises:
            NotFound: There is no such upload.
        """
        size = self._blobs.size(request.digest)

        def work(job: Job) -> JsonValue:
            read = partial(self._blobs.open, request.digest)
            carried = carried_in(ArchiveFiles("the archive", size, read))
            return self._arrivals.take_in(principal, carried, request, job)

        return self._begin_without(principal, OperationKind.IMAGE_IMPORT, request.name, work)

    def pull(self, principal: Principal, request: PullImage) -> Operation:
        """Take in an image from a registry; the result is its reference.

        Raises:
            InvalidRequest: The name is none.
        """
        name = parse_name(request.source)

        def work(job: Job) -> JsonValue:
            with Repository(str(name)) as repository:
                job.log(f"asking {name.host} for {name}")
                found = repository.pull_manifest(None)
                beside = pull_attachments(repository, found.descriptor)
                carried = carried_by(repository, found, beside)
                return self._arrivals.take_in(principal, carried, request, job)

        return self._begin_without(principal, OperationKind.IMAGE_PULL, request.name, work)

    def push(self, principal: Principal, reference: Reference, request: PushImage) -> Operation:
        """Put an image into a registry; only what is missing there is sent.

        Raises:
            NotFound: There is no such image.
            Conflict: It is not built, or stands on nothing.
            InvalidRequest: The name is none that can be pushed to.
        """
        name = _pushable(parse_name(request.to))
        image, operation = self._begin_with(principal, reference, OperationKind.IMAGE_PUSH)

        def work(job: Job) -> JsonValue:
            rendered = render(image, self._blobs, Compressor(self._database, self._blobs, job))
            with Repository(str(name), "pull,push") as repository:
                uploaded = self._send(rendered, repository, job)
                self._send_attachments(image, rendered, repository)
            self._pushed[name.host] = name.path
            pushed = PushedImage(
                image=image.reference,
                to=str(name),
                digest=rendered.manifest.descriptor.digest,
                uploaded=uploaded,
                size=sum(part.descriptor.size for part in rendered.parts),
            )
            job.log(f"{name} is {pushed.digest}")
            answer: JsonValue = pushed.model_dump(mode="json")
            return answer

        self._background.begin(operation, work)
        return operation

    def _begin_with(
        self, principal: Principal, reference: Reference, kind: OperationKind
    ) -> tuple[Image, Operation]:
        with self._database.write() as tx:
            image = tx.images.get(principal.workspace, reference)
            ready(image)
            what = f"image {image.reference}"
            return image, tx.operations.add(principal.workspace, kind, what, principal.name)

    def _begin_without(
        self,
        principal: Principal,
        kind: OperationKind,
        name: str | None,
        work: Callable[[Job], JsonValue],
    ) -> Operation:
        """Begin what gives an image that is not known yet."""
        with self._database.write() as tx:
            what = f"image {name}" if name else "image"
            operation = tx.operations.add(principal.workspace, kind, what, principal.name)
        self._background.begin(operation, work)
        return operation

    def _archive(self, image: Image, form: ImageForm, job: Job | None) -> Archive:
        match form:
            case ImageForm.OCI:
                gzip = Compressor(self._database, self._blobs, job)
                return oci_archive(image, self._blobs, gzip)
            case ImageForm.DOCKER:
                return docker_archive(image, self._blobs)
            case ImageForm.CONTAINERFILE:
                return containerfile_archive(image, self._blobs)

    def _send(self, rendered: Rendered, repository: Repository, job: Job) -> int:
        """Send what is missing; bytes that were sent."""
        total = 0
        for part in (*rendered.layers, rendered.config):
            total += self._send_blob(part, repository, job)
        go_on()
        body = b"".join(rendered.manifest.read(0, rendered.manifest.descriptor.size))
        push_manifest(repository, rendered.manifest.descriptor, body)
        return total

    def _send_attachments(self, image: Image, rendered: Rendered, repository: Repository) -> None:
        """Put the signature and the SBOM beside what was sent."""
        subject = rendered.manifest.descriptor
        kept = kept_beside(image, self._blobs)
        push_artifacts(repository, subject, [artifact(one, subject) for one in kept])

    def _send_blob(self, part: Part, repository: Repository, job: Job) -> int:
        host, path = repository.image.host, repository.image.path
        other = self._pushed.get(host)
        size, sent = part.descriptor.size, 0

        def note(length: int) -> None:
            nonlocal sent
            sent += length
            if sent < size:
                job.log(f"{part.title}: {sent * 100 // size} % of {size_text(size)}")

        def read(offset: int, length: int) -> bytes:
            go_on()
            return b"".join(part.read(offset, length))

        mount = None if other == path else other
        outcome = push_blob(repository, part.descriptor, read, mount, note)
        job.log(f"{part.title}: {outcome}, {size_text(size)}")
        return sent


def _pushable(name: ImageName) -> ImageName:
    if name.digest is not None:
        raise InvalidRequest(
            f"{name} names a digest, which comes of a push and is not chosen",
            hint="name a tag, `…:1`, or nothing for `latest`",
        )
    return name._replace(tag=name.tag or "latest")
