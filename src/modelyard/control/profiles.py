"""Profiles: measure an image under load, one at a time, and keep what came out.

A measurement that a restart of the server cut off is not begun again: it failed, and says so.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from pydantic import JsonValue

from modelyard.control.operations import Operations
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Image, ImageState
from modelyard.domain.operation import Operation, OperationKind, OperationState
from modelyard.domain.principal import Principal
from modelyard.domain.profile import Profile
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InvalidRequest, ModelyardError, OperationFailed
from modelyard.images.builder import ImageBuilder
from modelyard.images.watch import Cancelled
from modelyard.schemas import ProfileImage
from modelyard.store import Database

_logger = logging.getLogger("modelyard.profiles")


class Profiles:
    """What callers may have measured."""

    def __init__(self, database: Database, operations: Operations, builder: ImageBuilder) -> None:
        self._database = database
        self._operations = operations
        self._builder = builder
        self._unwanted: set[UUID] = set()
        self._closing = threading.Event()
        # Two at a time would measure each other.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="profile")

    def begin(self, principal: Principal, reference: Reference, request: ProfileImage) -> Operation:
        """Begin a profile; it waits for those that were begun before.

        Raises:
            NotFound: There is no such image.
            Conflict: The image is not built.
            InvalidRequest: There is nothing to send.
        """
        with self._database.write() as tx:
            image = tx.images.get(principal.workspace, reference)
            _refuse_unbuilt(image)
            sample = _sample(image, request)
            operation = tx.operations.add(
                principal.workspace,
                OperationKind.IMAGE_PROFILE,
                f"image {image.reference}",
                principal.name,
            )
        self._executor.submit(self._run, operation, image, sample, request)
        return operation

    def cancel(self, principal: Principal, operation: UUID) -> Operation:
        """End a profile; one that has ended stays as it is.

        Raises:
            NotFound: There is no such operation.
            Conflict: It is something else.
        """
        found = self._operations.get(principal, operation)
        if found.kind is not OperationKind.IMAGE_PROFILE:
            raise Conflict(
                f"{found.kind} of {found.resource} cannot be cancelled",
                hint="only profiles can: other operations leave something behind",
            )
        self._unwanted.add(operation)
        self._operations.finish(operation, OperationState.CANCELLED)
        return self._operations.get(principal, operation)

    def resume(self) -> None:
        """End what a server before this one did not finish."""
        with self._database.read() as tx:
            running = tx.operations.running()
        for operation in running:
            if operation.kind is OperationKind.IMAGE_PROFILE:
                self._operations.finish(operation.id, OperationState.FAILED, _interrupted())

    def close(self) -> None:
        """End what is being measured, and take no more."""
        self._closing.set()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(
        self,
        operation: Operation,
        image: Image,
        sample: JsonValue,
        request: ProfileImage,
    ) -> None:
        """Measure; whatever happens, the operation says so."""
        try:
            profile = self._measure(operation, image, sample, request)
            result = profile.model_dump(mode="json")
            self._operations.finish(operation.id, OperationState.SUCCEEDED, result=result)
        except Cancelled:
            _logger.info("the profile of %s was cancelled", image.reference)
        except ModelyardError as error:
            self._fail(operation, error)
        except Exception:
            _logger.exception("profiling %s", image.reference)
            problem = f"profiling {image.reference} failed in the server"
            self._fail(operation, ModelyardError(problem))
        finally:
            self._unwanted.discard(operation.id)

    def _measure(
        self,
        operation: Operation,
        image: Image,
        sample: JsonValue,
        request: ProfileImage,
    ) -> Profile:
        def log(text: str, source: str = "profile") -> None:
            self._operations.append(operation.id, source, text)

        def is_unwanted() -> bool:
            return self._closing.is_set() or operation.id in self._unwanted

        if is_unwanted():
            raise Cancelled
        assert image.manifest is not None, "what is not built was refused"
        return self._builder.profile(
            image.reference,
            image.manifest,
            image.signature,
            sample,
            request,
            log,
            is_unwanted,
        )

    def _fail(self, operation: Operation, error: ModelyardError) -> None:
        failure = OperationFailed(error.message, hint=error.hint, details=error.details)
        self._operations.append(operation.id, "profile", f"failed: {error.message}")
        self._operations.finish(operation.id, OperationState.FAILED, failure)


def _refuse_unbuilt(image: Image) -> None:
    if image.state is not ImageState.SUCCEEDED:
        raise Conflict(
            f"image `{image.reference}` is not built: {image.state}",
            hint="profile one that is; `modelyard image list` shows them",
        )


def _sample(image: Image, request: ProfileImage) -> JsonValue:
    if request.sample is not None:
        return request.sample
    if image.check is not None and image.check.sample is not None:
        return image.check.sample
    raise InvalidRequest(
        f"there is nothing to send: image `{image.reference}` was built without a sample",
        hint="give one with --sample, such as `--sample @sample.json`",
    )


def _interrupted() -> OperationFailed:
    cause = Cause(
        code=CauseCode.INTERRUPTED,
        message="The server was restarted in the middle of the profile.",
        fix="Profile the image again.",
    )
    return OperationFailed(
        cause.message, hint=cause.fix, details={"cause": cause.model_dump(mode="json")}
    )
