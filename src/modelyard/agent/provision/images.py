"""Brings images to this host in the background: unpacked for processes, or into the engine.

What no trusted key has signed is neither fetched nor started.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol
from uuid import UUID

from modelyard.agent.backoff import Backoff
from modelyard.agent.engine.problems import EngineProblem
from modelyard.agent.provision.fetching import Blobs, complete, file_chunks
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.desired import DesiredDeployment
from modelyard.domain.image import Layer, LayerKind, Manifest
from modelyard.errors import (
    InsufficientStorage,
    IntegrityError,
    ModelyardError,
    ServerUnreachable,
    Unavailable,
)
from modelyard.images.launch import why_unsuitable
from modelyard.images.layers import LayerCache
from modelyard.images.signing import TrustedKeys

log = logging.getLogger(__name__)

_WORKERS = 4
_UNAVAILABLE = CauseCode.IMAGE_UNAVAILABLE
_PATIENCE = 3  # attempts after which a server that says "try again" counts as a problem


class ImagePlace(Protocol):
    """Where the images of one target go on this host. Any thread may call it."""

    def why_unsuitable(self, manifest: Manifest) -> Cause | None:
        """Why an image cannot run there, or None when it can.

        Raises:
            ModelyardError: It cannot be found out now.
        """

    def bring(self, manifest: Manifest) -> Mapping[LayerKind, Path]:
        """Have an image there, however long it takes; folders of what is unpacked.

        Raises:
            ModelyardError: It cannot be brought there.
        """


class LayerFetcher:
    """Fetches and unpacks single layers; safe in several threads.

    Args:
        cache: Where they are unpacked.
        partial: Folder of what is being fetched.
        blobs: Where they come from.
        refusal: Why this host may run no image at all; None: it may.
    """

    def __init__(
        self, cache: LayerCache, partial: Path, blobs: Blobs, refusal: Cause | None = None
    ) -> None:
        self._refusal = refusal
        self._cache = cache
        self._partial = partial
        self._blobs = blobs
        self._locks: dict[str, threading.Lock] = {}

    def why_unsuitable(self, manifest: Manifest) -> Cause | None:
        """Why this host cannot run an image as processes."""
        return self._refusal or why_unsuitable(manifest)

    def bring(self, manifest: Manifest) -> Mapping[LayerKind, Path]:
        """Have every layer of an image here."""
        return {layer.kind: self.folder(layer) for layer in manifest.layers}

    def folder(self, layer: Layer) -> Path:
        """The folder of the unpacked layer, which is fetched when it is not here.

        Raises:
            ModelyardError: It cannot be fetched or unpacked.
        """
        with self._locks.setdefault(layer.digest, threading.Lock()):
            return self._cache.path(layer.digest) or self._unpack(layer)

    def _unpack(self, layer: Layer) -> Path:
        partial = self._partial / f"{layer.digest.removeprefix('sha256:')}.partial"
        try:
            complete(partial, layer.digest, layer.size, self._blobs)
            folder = self._cache.unpack(layer.digest, file_chunks(partial), layer.size)
        except IntegrityError:
            partial.unlink(missing_ok=True)  # the next attempt begins anew
            raise
        except OSError as error:
            raise InsufficientStorage(f"cannot keep layer {layer.digest}: {error}") from error
        partial.unlink(missing_ok=True)
        return folder


class ImageProvider:
    """Has images brought here, says which are there, and why others are not.

    Args:
        places: Where they go, by target.
        trusted: Tells what may be started.
        wake: Called at every change.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        places: Mapping[str, ImagePlace],
        trusted: TrustedKeys,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._places = places
        self._trusted = trusted
        self._wake = wake
        self._clock = clock
        self._turns = threading.BoundedSemaphore(_WORKERS)
        self._lock = threading.Lock()
        self._ready: dict[UUID, Mapping[LayerKind, Path]] = {}
        self._attempts: dict[UUID, Backoff] = {}
        self._busy: set[UUID] = set()
        self._problems: dict[UUID, Cause] = {}

    def ensure(self, deployment: DesiredDeployment) -> None:
        """Have the image of a deployment brought here; returns at once, safe to repeat."""
        with self._lock:
            attempts = self._attempts.setdefault(deployment.id, Backoff(0.5, 30.0))
            if deployment.id in self._busy or not attempts.due(self._clock()):
                return
            self._busy.add(deployment.id)
        # A daemon: an agent that ends does not wait for a fetch, which can be taken up again.
        threading.Thread(target=self._provide, args=(deployment,), daemon=True).start()

    def ready(self) -> frozenset[UUID]:
        """Deployments whose image is here."""
        return frozenset(self._ready)

    def layers(self, deployment: DesiredDeployment) -> Mapping[LayerKind, Path] | None:
        """Folders of the unpacked layers of an image, or None while it is not here.

        Trust may have ended since it came: then it is not, and the next attempt says why.
        """
        if self._why_untrusted(deployment) is not None:
            self.recheck(deployment.id)
        with self._lock:
            return self._ready.get(deployment.id)

    def problems(self) -> dict[UUID, Cause]:
        """Why the image of a deployment cannot be had."""
        with self._lock:
            return dict(self._problems)

    def recheck(self, deployment: UUID) -> None:
        """Look again whether the image is here, before its replicas are started again."""
        with self._lock:
            self._ready.pop(deployment, None)

    def keep_only(self, deployments: Collection[UUID]) -> None:
        """Forget what is known of deployments that are wanted no more."""
        with self._lock:
            for known in (self._ready, self._attempts, self._problems):
                for deployment in known.keys() - set(deployments):
                    del known[deployment]

    def _provide(self, deployment: DesiredDeployment) -> None:
        try:
            with self._turns:
                self._attempt(deployment)
        except ModelyardError as error:
            self._failed(deployment, self._why(deployment, error))
        except Exception as error:
            log.exception("image %s", deployment.image)
            self._failed(deployment, _cause(deployment, CauseCode.INTERNAL, repr(error), ""))
        finally:
            with self._lock:
                self._busy.discard(deployment.id)
            self._wake()

    def _attempt(self, deployment: DesiredDeployment) -> None:
        manifest, place = deployment.manifest, self._places[deployment.target]
        refusal = place.why_unsuitable(manifest) or self._why_untrusted(deployment)
        if refusal is not None:
            self._failed(deployment, refusal)
            return
        self._succeeded(deployment, place.bring(manifest))

    def _why_untrusted(self, deployment: DesiredDeployment) -> Cause | None:
        return self._trusted.why_refused(deployment.manifest.digest, deployment.signature)

    def _succeeded(self, deployment: DesiredDeployment, layers: Mapping[LayerKind, Path]) -> None:
        with self._lock:
            self._ready[deployment.id] = layers
            self._problems.pop(deployment.id, None)
            self._attempts.pop(deployment.id, None)

    def _failed(self, deployment: DesiredDeployment, cause: Cause | None) -> None:
        with self._lock:
            if deployment.id not in self._attempts:
                return  # forgotten meanwhile
            pause = self._attempts[deployment.id].failed(self._clock())
            if cause is not None:
                self._problems[deployment.id] = cause
        reason = cause.message if cause else "the server does not answer"
        log.warning("image %s: %s; next attempt in %.3g s", deployment.image, reason, pause)

    def _why(self, deployment: DesiredDeployment, error: ModelyardError) -> Cause | None:
        """The cause to report, or None for what time alone is likely to mend."""
        attempts = self._attempts.get(deployment.id)
        early = attempts is None or attempts.failures < _PATIENCE
        if isinstance(error, ServerUnreachable) or (isinstance(error, Unavailable) and early):
            return None
        return _cause(deployment, _code(error), error.message, error.hint)


def _code(error: ModelyardError) -> CauseCode:
    if isinstance(error, InsufficientStorage):
        return CauseCode.STORAGE_FULL
    return CauseCode(error.cause) if isinstance(error, EngineProblem) else _UNAVAILABLE


def _cause(deployment: DesiredDeployment, code: CauseCode, message: str, hint: str) -> Cause:
    return Cause(
        code=code,
        message=f"The image `{deployment.image}` cannot be brought to this host: {message}",
        evidence=(f"image: {deployment.manifest.digest}",),
        fix=hint or "The agent tries again by itself; its log says more.",
    )
