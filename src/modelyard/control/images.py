"""Images: accept builds, run them, remember what they made.

A build is described completely by its row, so a server that was killed in the middle of one takes
it up again at its next start.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from pydantic import JsonValue

from modelyard.blobs.base import BlobStore
from modelyard.control.background import Background
from modelyard.control.blobs import LEASE, refuse_collected
from modelyard.control.environments import LockedEnvironments
from modelyard.control.idempotency import earlier_answer, remember_answer
from modelyard.control.inputs import digest_of_inputs
from modelyard.control.making import Made, Maker, check_optimizable
from modelyard.control.operations import Operations
from modelyard.control.unscripted import derive_requirements, describe, only_model
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Image
from modelyard.domain.model import Model
from modelyard.domain.operation import OperationKind, OperationState
from modelyard.domain.principal import Principal
from modelyard.domain.requirements import parse_lines
from modelyard.domain.search import Page, Search
from modelyard.domain.values import Reference
from modelyard.errors import (
    BuildFailed,
    Conflict,
    InsufficientStorage,
    InvalidRequest,
    ModelyardError,
    NotFound,
    Unavailable,
)
from modelyard.images.builder import ImageBuilder, Log
from modelyard.images.cancelling import Cancelled, go_on
from modelyard.images.preflight import check_inputs
from modelyard.schemas import AcceptedImage, BuildImage, ChangeLabels
from modelyard.store import Database, Transaction

PARALLEL_BUILDS = 2
RETRY = 1.0
"""Seconds between attempts to write down that a build failed."""

_logger = logging.getLogger("modelyard.images")


class Images:
    """What callers may do with images."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        operations: Operations,
        background: Background,
        builder: ImageBuilder,
    ) -> None:
        self._background = background
        self._database = database
        self._blobs = blobs
        self._operations = operations
        self._builder = builder
        self._environments = LockedEnvironments(database, blobs, builder, self._hold)
        self._closing = threading.Event()
        self._executor = ThreadPoolExecutor(PARALLEL_BUILDS, thread_name_prefix="build")

    def build(
        self, principal: Principal, request: BuildImage, key: str | None = None
    ) -> AcceptedImage:
        """Begin a build; with inputs that were built before, answer with what is there.

        Raises:
            InvalidScript: The scoring script cannot work as it is.
            InvalidRequest: A file, a requirement or a reference is wrong.
            NotFound: There is no such model, or a file was not uploaded.
        """
        check_inputs(request, self._blobs)
        base = self._builder.pinned_base(request.base)
        base_key = self._builder.base_key(base, request.platform)
        request = request.model_copy(
            update={"requirements": parse_lines(request.requirements), "base": base}
        )
        with self._database.write() as tx:
            earlier = earlier_answer(tx, principal, key, request, AcceptedImage)
            if earlier is not None:
                return earlier
            models = [
                tx.models.get(principal.workspace, Reference.parse(text)) for text in request.models
            ]
            _refuse_twins(models)
            if request.script is None:
                only_model(models)
            check_optimizable(request, models[0] if request.script is None else None)
            answer = self._accept(tx, principal, request, models, base_key)
            remember_answer(tx, principal, key, request, answer)
        if not answer.reused:
            self._executor.submit(self._run, answer.image)
        return answer

    def _accept(
        self,
        tx: Transaction,
        principal: Principal,
        request: BuildImage,
        models: Sequence[Model],
        base_key: str,
    ) -> AcceptedImage:
        requirements = self._requirements(request, models)
        inputs = digest_of_inputs(request, models, requirements, base_key, self._builder)
        if not request.upgrade:
            same = tx.images.find_same(principal.workspace, inputs, request.name)
            if same is not None and _checked_with(tx, same, request, models):
                operation = tx.operations.get(principal.workspace, same.operation)
                return AcceptedImage(image=same, operation=operation, reused=True)
        operation = tx.operations.add(
            principal.workspace, OperationKind.IMAGE_BUILD, f"image {request.name}", principal.name
        )
        image = tx.images.add(
            principal.workspace, request, models, inputs, operation.id, principal.name
        )
        operation = tx.operations.get(principal.workspace, operation.id)
        return AcceptedImage(image=image, operation=operation, reused=False)

    def get(self, principal: Principal, reference: Reference) -> Image:
        """One version of an image; the latest when the reference names none."""
        with self._database.read() as tx:
            return tx.images.get(principal.workspace, reference)

    def search(self, principal: Principal, search: Search) -> Page[Image]:
        """Images that match, newest first."""
        with self._database.read() as tx:
            return tx.images.search(principal.workspace, search)

    def change_labels(
        self, principal: Principal, reference: Reference, change: ChangeLabels
    ) -> Image:
        """Change tags or the description; add properties."""
        with self._database.write() as tx:
            return tx.images.change_labels(principal.workspace, reference, change)

    def delete(self, principal: Principal, reference: Reference) -> None:
        """Delete an image; refused while a service needs it."""
        with self._database.write() as tx:
            tx.images.delete(principal.workspace, reference)

    def resume(self) -> None:
        """Take up the builds that a server before this one did not finish."""
        with self._database.read() as tx:
            unfinished = tx.images.running()
        for image in unfinished:
            self._operations.append(image.operation, "build", "the server was restarted: again")
            self._executor.submit(self._run, image)

    def close(self) -> None:
        """Stop taking builds; those that run are taken up again by the next server."""
        self._closing.set()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, image: Image) -> None:
        """Build one image to its end; whatever happens, its row says so."""
        try:
            with self._background.while_wanted(image.operation):
                made = self._make(image)
            self._finish(image, made)
        except Cancelled:  # by a caller, or by the end of the server: the next one builds it again
            _logger.info("the build of %s was cut off", image.reference)
        except BuildFailed as error:
            self._fail(image, error)
        except ModelyardError as error:
            self._fail(image, _unexpected(image, error.message, error.hint))
        except Exception as error:
            _logger.exception("building %s", image.reference)
            self._fail(image, _unexpected(image, f"{type(error).__name__} in the server", ""))

    def _make(self, image: Image) -> Made:
        with self._database.read() as tx:
            request = tx.images.request(image.id)
            models = [
                tx.models.get(image.workspace, Reference.parse(reference))
                for reference in image.models
            ]

        def log(text: str, source: str = "build") -> None:
            go_on()
            self._operations.append(image.operation, source, text)

        base = self._builder.pinned_base(request.base)
        ground = self._builder.ground(base, request.platform, log)
        if ground.base is not None:  # the environment may take longer than a collection
            self._hold({layer.digest: layer.size for layer in ground.base.layers})
        requirements = self._requirements(request, models, log)
        maker = Maker(
            self._builder,
            lambda lines: self._environments.get(lines, ground.interpreter, request, log),
            self._hold,
            request,
            models,
            ground,
            _sample(request, models),
            log,
        )
        return maker.make_optimized(requirements) if request.optimize else maker.make(requirements)

    def _requirements(
        self, request: BuildImage, models: Sequence[Model], log: Log | None = None
    ) -> tuple[str, ...]:
        """The lines that were asked for; without any and without a script, what the model needs."""
        if request.requirements or request.script is not None:
            return request.requirements
        derived = derive_requirements(only_model(models), self._read)
        if log is not None:
            log(describe(derived))
        return derived.lines

    def _read(self, digest: str, offset: int, length: int) -> bytes:
        return b"".join(self._blobs.open(digest, offset, length))

    def _hold(self, sizes: Mapping[str, int]) -> None:
        """Keep blobs that nothing refers to yet from being collected."""
        with self._database.write() as tx:
            for digest, size in sizes.items():
                tx.blobs.record(digest, size, datetime.now(UTC) + LEASE)
        refuse_collected(self._blobs, sizes)

    def _finish(self, image: Image, made: Made) -> None:
        manifest = made.manifest
        with self._database.write() as tx:
            tx.images.succeed(
                image.id,
                manifest,
                made.signature,
                made.lock.packages,
                made.report,
                made.optimization,
            )
            line = f"built {image.reference}, {manifest.digest}"
            tx.operations.append_log(image.operation, "build", [line])
            tx.operations.finish(image.operation, OperationState.SUCCEEDED)
        self._operations.changed.notify()

    def _fail(self, image: Image, error: BuildFailed) -> None:
        """Write down why, however long the database or the disk cannot take it."""
        while True:
            try:
                self._record_failure(image, error)
                return
            except (Unavailable, InsufficientStorage) as problem:
                _logger.warning("%s failed, and that cannot be kept: %s", image.reference, problem)
                if self._closing.wait(RETRY):
                    return  # the next server builds it again
            except (Conflict, NotFound):
                return  # it has an end already, or was cancelled

    def _record_failure(self, image: Image, error: BuildFailed) -> None:
        cause = Cause.model_validate(error.details["cause"])
        with self._database.write() as tx:
            tx.images.fail(image.id, cause)
            lines = [f"failed: {cause.message}", *cause.evidence, cause.fix]
            tx.operations.append_log(image.operation, "build", [line for line in lines if line])
            tx.operations.finish(image.operation, OperationState.FAILED, error.to_wire())
        self._operations.changed.notify()


def _sample(request: BuildImage, models: Sequence[Model]) -> JsonValue:
    """What the check scores: the build's own sample, or the first that a model brought."""
    samples = (request.sample, *(model.sample_input for model in models))
    return next((sample for sample in samples if sample is not None), None)


def _checked_with(
    tx: Transaction, image: Image, request: BuildImage, models: Sequence[Model]
) -> bool:
    """Whether the image was checked with the sample that is asked for, if one is."""
    return request.sample is None or request.sample == _sample(tx.images.request(image.id), models)


def _refuse_twins(models: Sequence[Model]) -> None:
    references = [model.reference for model in models]
    for reference in references:
        if references.count(reference) > 1:
            raise InvalidRequest(f"model `{reference}` is named twice", hint="name it once")


def _unexpected(image: Image, message: str, hint: str) -> BuildFailed:
    cause = Cause(
        code=CauseCode.INTERNAL,
        message=f"The build of {image.reference} could not go on: {message}.",
        fix=hint or "The server's log (server.log in the home folder) says more; please report it.",
    )
    return BuildFailed(
        cause.message, hint=cause.fix, details={"cause": cause.model_dump(mode="json")}
    )
