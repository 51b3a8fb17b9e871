"""Takes in images that were built elsewhere. Called by `moving`, whose jobs it works for.

What comes in is compared byte by byte, signed, checked by a start where this host can, and only
then an image.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pydantic import JsonValue

from modelyard.blobs.base import BlobStore
from modelyard.control.background import Job
from modelyard.control.blobs import LEASE, refuse_collected
from modelyard.domain.image import CheckReport, Image, LayerKind, Manifest, Package
from modelyard.domain.principal import Principal
from modelyard.domain.signature import Signature
from modelyard.domain.values import NAME_PATTERN
from modelyard.errors import IntegrityError, InvalidRequest
from modelyard.images.builder import ImageBuilder
from modelyard.images.cancelling import go_on
from modelyard.images.launch import why_unsuitable
from modelyard.images.oci.intake import Carried, packages_in, read_manifest, store_layers
from modelyard.images.oci.labels import TITLE, sample_in
from modelyard.images.oci.vouching import Vouched, vouching
from modelyard.schemas import BuildImage, ImportImage, PullImage
from modelyard.store import Database


class Arrivals:
    """Makes images of what comes in."""

    def __init__(self, database: Database, blobs: BlobStore, builder: ImageBuilder) -> None:
        self._database = database
        self._blobs = blobs
        self._builder = builder

    def take_in(
        self,
        principal: Principal,
        carried: Carried,
        request: ImportImage | PullImage,
        job: Job,
    ) -> JsonValue:
        """Store and check what comes; the reference of the image that came of it.

        Args:
            principal: Whose it will be.
            carried: The image.
            request: What it becomes here.
            job: Who works on it.

        Raises:
            InvalidRequest: It is no image of ours, or has no name.
            IntegrityError: Something is not what it should be, or it must be signed and is not.
            BuildFailed: It does not pass its check.
            InsufficientStorage: The disk is full.
        """
        name = request.name or _own_name(carried)
        manifest = read_manifest(carried)
        job.log(f"it is {manifest.digest}")
        vouched = self._vouched(carried, manifest, must=request.signed)
        with self._database.read() as tx:
            same = tx.images.find_built(principal.workspace, manifest.digest, name)
        if same is not None:
            job.log(f"it is here already: {same.reference}")
            return {"image": same.reference, "reused": True}
        store_layers(carried, manifest, self._blobs, self._hold, job.log)
        packages = packages_in(self._blobs.open(manifest.layer(LayerKind.ENVIRONMENT).digest))
        signature = self._signature(manifest, vouched, job)
        report = self._check(manifest, signature, sample_in(carried.labels), job)
        go_on()
        wish = _wish(name, manifest, request)
        image = self._register(principal, wish, manifest, signature, packages, report, job)
        return {"image": image.reference, "reused": False}

    def _vouched(self, carried: Carried, manifest: Manifest, *, must: bool) -> Vouched | None:
        vouched = vouching(manifest.digest, carried.beside, self._builder.trusted)
        if vouched is None and must:
            raise IntegrityError(
                f"no key that is trusted here has signed {carried.name}",
                hint="put the public key of who signed it as a .pem file into the folder `trusted` "
                "of the server's home, or take it in as it is",
            )
        return vouched

    def _signature(self, manifest: Manifest, vouched: Vouched | None, job: Job) -> Signature:
        """That of a key that is trusted here; else our own, for a caller wants the image here."""
        if vouched is None:
            job.log("no key that is trusted here has signed it: it is vouched for from now on")
            return self._builder.sign(manifest, None, job.log)
        job.log(f"signed by {vouched.signature.key}, which is trusted")
        if vouched.sbom is not None:
            with self._blobs.writer() as writer:
                writer.write(vouched.sbom)
                stored = writer.commit(vouched.signature.sbom)
            self._hold(stored.digest, stored.size)
        return vouched.signature

    def _check(
        self, manifest: Manifest, signature: Signature, sample: JsonValue, job: Job
    ) -> CheckReport | None:
        """Start it once, as after a build; None where it is for other hosts than this one."""
        if (unsuitable := why_unsuitable(manifest)) is not None:
            job.log(f"not checked: {unsuitable.message}")
            return None
        return self._builder.check(manifest, signature, sample, job.log)

    def _register(
        self,
        principal: Principal,
        wish: BuildImage,
        manifest: Manifest,
        signature: Signature,
        packages: tuple[Package, ...],
        report: CheckReport | None,
        job: Job,
    ) -> Image:
        """All of it in one transaction: there is the whole image, or none."""
        workspace, operation = principal.workspace, job.operation.id
        with self._database.write() as tx:
            begun = tx.images.take_in(workspace, wish, manifest, operation, principal.name)
            image = tx.images.succeed(begun.id, manifest, signature, packages, report)
        job.log(f"took in {image.reference}, {manifest.digest}")
        return image

    def _hold(self, digest: str, size: int) -> None:
        """Keep a blob that nothing refers to yet from being collected."""
        go_on()
        with self._database.write() as tx:
            tx.blobs.record(digest, size, datetime.now(UTC) + LEASE)
        refuse_collected(self._blobs, [digest])


def _wish(name: str, manifest: Manifest, request: ImportImage | PullImage) -> BuildImage:
    """What a build of it would have been asked for, as far as it is known here."""
    return BuildImage(
        name=name,
        models=tuple(model.reference for model in manifest.models),
        script=manifest.script,
        description=request.description,
        tags=request.tags,
        properties=request.properties,
    )


def _own_name(carried: Carried) -> str:
    """The name that an image carries."""
    name = carried.labels.get(TITLE, "")
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidRequest(
            f"{carried.name} does not say how the image is called", hint="give it a name"
        )
    return name
