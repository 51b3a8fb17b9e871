"""Brings images into the engine of this host, once each, and takes out what no deployment needs.

Layers come by digest as for processes, and are kept as they are: an engine that lost its images
gets them again without the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from modelyard.agent.container.spec import AGENT_LABEL
from modelyard.agent.engine.client import Engine
from modelyard.agent.engine.host import EngineHost, Engines
from modelyard.agent.engine.problems import EngineRefused, NoSuchObject
from modelyard.agent.provision.fetching import BlobCache
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Base, LayerKind, Manifest
from modelyard.images.oci.archive import pieces
from modelyard.images.oci.forms import engine_archive

_IN_USE = 409  # the status of a refusal


class EngineImages:
    """The images of one agent in an engine.

    Args:
        agent: The agent's id, which is part of every tag.
        engines: Finds the engine.
        blobs: The layers.
    """

    def __init__(self, agent: str, engines: Engines, blobs: BlobCache) -> None:
        self._agent = agent
        self._engines = engines
        self._blobs = blobs
        self._locks: dict[str, threading.Lock] = {}

    def why_unsuitable(self, manifest: Manifest) -> Cause | None:
        """Why containers here cannot run an image, or None when they can.

        Raises:
            EngineProblem: The engine cannot be asked.
        """
        if manifest.base is None:
            return Cause(
                code=CauseCode.NO_BASE,
                message="The image has nothing to stand on in a container.",
                evidence=(f"image: {manifest.digest}",),
                fix="Build it again: an image gets a base unless the build says none.",
            )
        return _why_other_platform(manifest, self._engines.find())

    def bring(self, manifest: Manifest) -> Mapping[LayerKind, Path]:
        """Have an image in the engine; nothing of it is unpacked here.

        Raises:
            ModelyardError: It cannot be fetched or loaded.
        """
        assert manifest.base is not None
        tag = image_tag(self._agent, manifest.digest)
        with self._lock_of(manifest.digest):
            engine = self._engines.find().engine
            if not _has(engine, tag):
                self._load(engine, manifest, manifest.base, tag)
        return {}

    def keep_only(self, needed: Callable[[], Sequence[Manifest]]) -> None:
        """Remove the images and layers of this agent that nothing needs.

        An image that a container of this agent still uses stays until the next time.

        Args:
            needed: Says what is needed. It is asked again before each image goes: what has come to
                be needed meanwhile is not brought again while it is still here.

        Raises:
            EngineProblem: The engine cannot be asked.
        """
        layers = {digest for manifest in needed() if manifest.base for digest in manifest.stored}
        self._blobs.keep_only(layers)
        engine = self._engines.find().engine
        used = {
            str(container.get("Image"))
            for container in engine.containers(f"{AGENT_LABEL}={self._agent}")
        }
        for tag in _tags(engine, _name(self._agent)):
            with self._lock_of(_digest(tag)):
                tags = {image_tag(self._agent, manifest.digest) for manifest in needed()}
                if tag not in tags | used:
                    _remove(engine, tag)

    def _lock_of(self, digest: str) -> threading.Lock:
        return self._locks.setdefault(digest, threading.Lock())

    def _load(self, engine: Engine, manifest: Manifest, base: Base, tag: str) -> None:
        files = {digest: self._blobs.file(digest, size) for digest, size in manifest.stored.items()}
        engine.load(engine_archive(manifest, base, tag, _Here(files)).chunks)
        if not _has(engine, tag):
            raise EngineRefused(f"the engine took the image and has no `{tag}`", 200)


class _Here:
    """Blobs that have been fetched."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def open(self, digest: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        return pieces(self._files[digest], offset, length)


def image_tag(agent: str, digest: str) -> str:
    """What an engine calls an image that this agent loaded."""
    return f"{_name(agent)}:{digest.removeprefix('sha256:')}"


def _digest(tag: str) -> str:
    return f"sha256:{tag.rpartition(':')[2]}"


def _name(agent: str) -> str:
    return f"localhost/modelyard/{agent}"


def _why_other_platform(manifest: Manifest, host: EngineHost) -> Cause | None:
    wanted = manifest.platform
    if (wanted.os, wanted.architecture) == (host.os, host.architecture):
        return None
    return Cause(
        code=CauseCode.WRONG_PLATFORM,
        message=f"The image is made for {wanted}; the container engine here runs "
        f"{host.os}/{host.architecture}.",
        evidence=(f"image: {manifest.digest}", f"engine: {host.engine.address}"),
        fix="Build the image for this platform, or run it on a host like its own.",
    )


def _has(engine: Engine, tag: str) -> bool:
    try:
        engine.image(tag)
    except NoSuchObject:
        return False
    return True


def _tags(engine: Engine, name: str) -> Iterator[str]:
    for image in engine.images(name):
        tags = image.get("RepoTags")
        for tag in tags if isinstance(tags, list) else ():
            if isinstance(tag, str) and tag.startswith(f"{name}:"):
                yield tag


def _remove(engine: Engine, tag: str) -> None:
    try:
        engine.remove_image(tag)
    except NoSuchObject:
        return
    except EngineRefused as problem:
        if problem.status != _IN_USE:
            raise
