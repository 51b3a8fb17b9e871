"""The environments of images: those that were locked and laid out before, and new ones.

Called by `control.images` for every build. A lock is kept for the same requirements until a build
asks for a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from modelyard.blobs.base import BlobStore
from modelyard.domain.image import Layer, LayerKind
from modelyard.images.builder import ImageBuilder, Log
from modelyard.images.environment import Lock
from modelyard.images.launch import Interpreter
from modelyard.schemas import BuildImage
from modelyard.store import Database

_SOURCES, _SLIM = "sources", "slim"


class LockedEnvironments:
    """The environments of one server.

    Args:
        database: Remembers locks.
        blobs: Has the layers.
        builder: Makes both.
        hold: Keeps blobs that nothing refers to yet, by digest, with their sizes.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        builder: ImageBuilder,
        hold: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._builder = builder
        self._hold = hold

    def get(
        self, requirements: Sequence[str], interpreter: Interpreter, request: BuildImage, log: Log
    ) -> tuple[Lock, Layer]:
        """The lock of requirements and its layer, in the way that a build asks for.

        Raises:
            BuildFailed: There is none; `details["cause"]` says why.
        """
        ways = [_SOURCES] if request.allow_sources else []
        plain = self._builder.lock_key(requirements, interpreter, *ways)
        if not request.slim:
            return self._laid_out(plain, requirements, interpreter, request, log)
        key = self._builder.lock_key(requirements, interpreter, *ways, _SLIM)
        return self._laid_out(key, requirements, interpreter, request, log, plain)

    def _laid_out(
        self,
        key: str,
        requirements: Sequence[str],
        interpreter: Interpreter,
        request: BuildImage,
        log: Log,
        like: str | None = None,
    ) -> tuple[Lock, Layer]:
        """The environment of a key; its lock is that of the key `like`, if there is one."""
        with self._database.read() as tx:
            known = tx.locks.find(key)
            other = tx.locks.find(like) if like is not None else None
        if known is not None and not request.upgrade and self._blobs.exists(known.digest):
            log("the environment is cached: the same requirements were locked before")
            saved = {package.name: package.saved for package in known.packages}
            lock = Lock(known.text, interpreter, request.slim, saved)
            return lock, Layer(kind=LayerKind.ENVIRONMENT, digest=known.digest, size=known.size)
        if other is not None and not request.upgrade:
            log("the same requirements were locked before")
            lock = Lock(other.text, interpreter, request.slim)
        else:
            lock = self._builder.lock(requirements, interpreter, request, log)
        return self._new(key, lock, log)

    def _new(self, key: str, lock: Lock, log: Log) -> tuple[Lock, Layer]:
        lock, layer = self._builder.environment(lock, log)
        self._hold({layer.digest: layer.size})
        with self._database.write() as tx:
            tx.locks.put(key, lock.text, layer.digest, layer.size, lock.packages)
        return lock, layer
