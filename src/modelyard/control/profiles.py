"""Profiles: measure an image under load, one at a time, and keep what came out."""

from __future__ import annotations

from pydantic import JsonValue

from modelyard.control.background import Background, Job
from modelyard.domain.image import Image, Manifest
from modelyard.domain.operation import Operation, OperationKind
from modelyard.domain.principal import Principal
from modelyard.domain.values import Reference
from modelyard.errors import InvalidRequest
from modelyard.images.builder import ImageBuilder
from modelyard.schemas import ProfileImage
from modelyard.store import Database


class Profiles:
    """What callers may have measured."""

    def __init__(self, database: Database, background: Background, builder: ImageBuilder) -> None:
        self._database = database
        self._background = background
        self._builder = builder

    def begin(self, principal: Principal, reference: Reference, request: ProfileImage) -> Operation:
        """Begin a profile; it waits for those that were begun before.

        Raises:
            NotFound: There is no such image.
            Conflict: The image is not built.
            InvalidRequest: There is nothing to send.
        """
        with self._database.write() as tx:
            image = tx.images.get(principal.workspace, reference)
            manifest = image.built_manifest()
            sample = _sample(image, request)
            self._background.refuse_more(tx, principal.workspace, OperationKind.IMAGE_PROFILE)
            operation = tx.operations.add(
                principal.workspace,
                OperationKind.IMAGE_PROFILE,
                f"image {image.reference}",
                principal.name,
            )
        self._background.begin(
            operation, lambda job: self._measure(job, image, manifest, sample, request)
        )
        return operation

    def _measure(
        self,
        job: Job,
        image: Image,
        manifest: Manifest,
        sample: JsonValue,
        request: ProfileImage,
    ) -> JsonValue:
        profile = self._builder.profile(
            image.reference,
            manifest,
            image.signature,
            sample,
            request,
            job.log,
        )
        measured: JsonValue = profile.model_dump(mode="json")
        return measured


def _sample(image: Image, request: ProfileImage) -> JsonValue:
    if request.sample is not None:
        return request.sample
    if image.check is not None and image.check.sample is not None:
        return image.check.sample
    raise InvalidRequest(
        f"there is nothing to send: image `{image.reference}` was built without a sample",
        hint="give one with --sample, such as `--sample @sample.json`",
    )
