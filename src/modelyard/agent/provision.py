"""Brings images to this host: fetches their layers by digest and unpacks them, in the background.

What no trusted key has signed is neither fetched nor started.

A fetch that was interrupted goes on where it stopped, also in another life of the agent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

from modelyard.agent.backoff import Backoff
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Layer, LayerKind
from modelyard.domain.service import DesiredDeployment
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

_CHUNK = 1 << 20
_WORKERS = 4
_PATIENCE = 3  # attempts after which a server that says "try again" counts as a problem


class Blobs(Protocol):
    """Where the bytes of layers come from."""

    def blob(self, digest: str, start: int) -> Iterator[bytes]:
        """The bytes of a blob from `start` on."""


class LayerFetcher:
    """Fetches and unpacks single layers; safe in several threads."""

    def __init__(self, cache: LayerCache, partial: Path, blobs: Blobs) -> None:
        self._cache = cache
        self._partial = partial
        self._blobs = blobs
        self._locks: dict[str, threading.Lock] = {}

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
            self._fetch(layer, partial)
            folder = self._cache.unpack(layer.digest, _chunks(partial), layer.size)
        except IntegrityError:
            partial.unlink(missing_ok=True)  # the next attempt begins anew
            raise
        except OSError as error:
            raise InsufficientStorage(f"cannot keep layer {layer.digest}: {error}") from error
        partial.unlink(missing_ok=True)
        return folder

    def _fetch(self, layer: Layer, partial: Path) -> None:
        """Complete the file; unpacking finds out whether it holds the right bytes."""
        with partial.open("ab") as file:
            while (start := file.tell()) < layer.size:
                try:
                    self._append(layer, file)
                except ServerUnreachable:
                    if file.tell() == start:
                        raise
                    # The connection broke on the way: what arrived need not be sent again.

    def _append(self, layer: Layer, file: BinaryIO) -> None:
        for chunk in self._blobs.blob(layer.digest, file.tell()):
            file.write(chunk)
            if file.tell() > layer.size:
                raise IntegrityError(f"layer {layer.digest} is longer than {layer.size} bytes")


class ImageProvider:
    """Has images unpacked, says which are there, and why others are not."""

    def __init__(
        self,
        fetcher: LayerFetcher,
        trusted: TrustedKeys,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._fetcher = fetcher
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

    def layers(self, deployment: UUID) -> Mapping[LayerKind, Path] | None:
        """Folders of the layers of an image, or None while it is not here."""
        with self._lock:
            return self._ready.get(deployment)

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
        manifest = deployment.manifest
        refusal = why_unsuitable(manifest) or self._trusted.why_refused(
            manifest.digest, deployment.signature
        )
        if refusal is not None:
            self._failed(deployment, refusal)
            return
        layers = {layer.kind: self._fetcher.folder(layer) for layer in manifest.layers}
        self._succeeded(deployment, layers)

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
        full = isinstance(error, InsufficientStorage)
        code = CauseCode.STORAGE_FULL if full else CauseCode.IMAGE_UNAVAILABLE
        return _cause(deployment, code, error.message, error.hint)


def _cause(deployment: DesiredDeployment, code: CauseCode, message: str, hint: str) -> Cause:
    return Cause(
        code=code,
        message=f"The image `{deployment.image}` cannot be brought to this host: {message}",
        evidence=(f"image: {deployment.manifest.digest}",),
        fix=hint or "The agent tries again by itself; its log says more.",
    )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
