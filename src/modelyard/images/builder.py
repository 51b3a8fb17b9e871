"""Builds images: from requirements, files and models to layers, a manifest and a checked start.

Called by `control.images`, which remembers what came out. The digest depends on the inputs only;
what is kept between builds saves time and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from packaging.requirements import Requirement
from pydantic import JsonValue

from modelyard.blobs.base import BlobStore, Stored
from modelyard.domain.image import CheckReport, Layer, LayerKind, Manifest, Platform
from modelyard.domain.model import Model
from modelyard.domain.profile import Profile
from modelyard.domain.service import Network, ReplicaSettings
from modelyard.domain.signature import Signature
from modelyard.domain.values import digest_of, size_text
from modelyard.images import parts, sbom
from modelyard.images.bases.choice import Bases, usual_platform
from modelyard.images.bases.ground import Ground
from modelyard.images.check import check_start
from modelyard.images.environment import Environments, Lock, runtime_requirements
from modelyard.images.failures import build_failed, full_disk_as_cause
from modelyard.images.known import KnownLayers
from modelyard.images.launch import Interpreter, why_unsuitable
from modelyard.images.layers import LayerCache
from modelyard.images.optimizing import Conversion, convert
from modelyard.images.profiling import profile_image
from modelyard.images.sandbox.choosing import host_sandbox, why_refused
from modelyard.images.signing import SigningKey, TrustedKeys
from modelyard.images.starting import started
from modelyard.images.trial import trial_folder
from modelyard.images.watch import Limits, Watch
from modelyard.schemas import BuildImage, ProfileImage
from modelyard.settings import Settings


class Log(Protocol):
    """Takes the lines of a build log."""

    def __call__(self, text: str, source: str = "build") -> None:
        """Write one line; `source` is the step it comes from."""
        ...


class ImageBuilder:
    """Makes images, and starts those that this host can. Any number of threads may build at once.

    Args:
        blobs: Where models and files come from and layers go to.
        layers: Where layers are unpacked, for the check and for the host's replicas.
        settings: Home folder, wheels and limits of the check.
        key: Signs what is built.
    """

    def __init__(
        self, blobs: BlobStore, layers: LayerCache, settings: Settings, key: SigningKey
    ) -> None:
        self._blobs = blobs
        self._layers = layers
        self._settings = settings
        self._key = key
        self.trusted = TrustedKeys(settings.home / "trusted")
        self._environments = Environments(blobs, layers, settings)
        self._known = KnownLayers(settings.home / "cache" / "layers", blobs)
        self._bases = Bases(blobs, layers, self._known)

    def pinned_base(self, base: str | None) -> str:
        """The base of a build, or the usual one, under a name that always means the same.

        Raises:
            InvalidRequest: It is no name of a base.
            BuildFailed: A registry does not have it; `details["cause"]` says why.
        """
        return self._bases.pin(self._settings.base if base is None else base)

    def base_key(self, base: str, platform: str | None) -> str:
        """Something that changes when the base does; found fast, and without storing anything.

        Raises:
            InvalidRequest: It is no base, or none for this platform.
            BuildFailed: No image can stand on it; `details["cause"]` says why.
        """
        return self._bases.key(base, _platform(base, platform))

    def ground(self, base: str, platform: str | None, log: Log) -> Ground:
        """What an image is to stand on, stored.

        Raises:
            BuildFailed: No image can stand on it; `details["cause"]` says why.
        """
        with full_disk_as_cause():
            ground = self._bases.find(base, _platform(base, platform))
        log(f"base: {_base(ground)}")
        return ground

    def needed(self, requirements: Sequence[str]) -> list[str]:
        """These requirements and the runtime's own, each in its usual form."""
        return sorted({str(Requirement(line)) for line in (*requirements, *runtime_requirements())})

    def lock_key(self, requirements: Sequence[str], interpreter: Interpreter, *how: str) -> str:
        """`sha256:…` of what a lock is made for: requirements, runtime, Python, platform, how."""
        document = [self.needed(requirements), interpreter.python, str(interpreter.platform), *how]
        return digest_of(json.dumps(document).encode())

    def runtime_digest(self) -> str:
        """`sha256:…` of the installed runtime; cheap after the first call."""
        return parts.runtime_digest()

    def lock(
        self, requirements: Sequence[str], interpreter: Interpreter, request: BuildImage, log: Log
    ) -> Lock:
        """Find exact packages that meet the user's requirements and the runtime's.

        Raises:
            BuildFailed: There are none; `details["cause"]` says why.
        """
        count = len(requirements)
        log(f"locking {count} requirement{'s' * (count != 1)}")
        with full_disk_as_cause():
            lock = self._environments.lock(requirements, interpreter, request.allow_sources)
        pins = (f"{package.name} {package.version}" for package in lock.packages)
        log(f"locked {len(lock.packages)} packages: {', '.join(pins)}")
        for name in lock.sources:
            log(f"{name} has no wheel and is built from its sources, which may differ every time")
        return replace(lock, slim=request.slim)

    def environment(self, lock: Lock, log: Log) -> tuple[Lock, Layer]:
        """Install and byte-compile what is locked, as a layer; the lock says what was left out.

        Raises:
            BuildFailed: A package cannot be fetched, or is not what was locked.
        """
        with full_disk_as_cause():
            lock, layer = self._environments.layer(lock, log)
        log(f"environment: {_size(layer)}")
        return lock, layer

    def assemble(
        self,
        request: BuildImage,
        models: Sequence[Model],
        ground: Ground,
        lock: Lock,
        environment: Layer,
        log: Log,
        converted: Mapping[str, bytes] | None = None,
    ) -> Manifest:
        """Write the other layers and put the image together.

        Args:
            request: What the build was asked for.
            models: What goes inside.
            ground: What it stands on.
            lock: Of the environment.
            environment: Its layer.
            log: Takes the lines of the build log.
            converted: Files of another form of the one model, to be served in its place.

        Raises:
            BuildFailed: The disk is full.
            NotFound: A file or a model's file is gone.
        """
        files = sorted(request.files, key=lambda file: file.path)
        with full_disk_as_cause():
            runtime = self._layer(
                LayerKind.RUNTIME,
                [self.runtime_digest(), ground.interpreter.python],
                lambda: parts.runtime_layer(ground.interpreter, self._blobs, self._layers),
                log,
            )
            code = self._layer(
                LayerKind.CODE,
                [ground.interpreter.python, [[file.path, file.digest] for file in files]],
                lambda: parts.code_layer(files, ground.interpreter, self._blobs, self._layers),
                log,
            )
            model = self._model_layer(models, converted, log)
        return Manifest(
            platform=ground.interpreter.platform,
            python=ground.interpreter.python,
            script=request.script,
            models=tuple(
                parts.mount(model, alone=request.script is None, converted=converted is not None)
                for model in models
            ),
            lock=lock.digest,
            base=ground.base,
            layers=(environment, runtime, code, model),
        )

    def describe(
        self,
        name: str,
        manifest: Manifest,
        lock: Lock,
        models: Sequence[Model],
        log: Log,
        converted: Mapping[str, bytes] | None = None,
    ) -> Stored:
        """Write down what is inside what was assembled, as a blob: its SBOM."""
        with full_disk_as_cause(), self._blobs.writer() as writer:
            writer.write(sbom.describe(name, manifest, lock, models, converted))
            stored = writer.commit()
        log(f"SBOM: {stored.digest}")
        return stored

    def sign(self, manifest: Manifest, described: str | None, log: Log) -> Signature:
        """Vouch for what was assembled or taken in, and for the SBOM of this digest, if any."""
        signature = self._key.sign(manifest.digest, described)
        log(f"signed {manifest.digest} with key {signature.key}")
        return signature

    def check(
        self,
        manifest: Manifest,
        signature: Signature,
        sample: JsonValue,
        log: Log,
        network: Network = Network.NONE,
    ) -> CheckReport:
        """Start the image once, score the sample if there is one, and end it.

        Raises:
            BuildFailed: It does not start, or fails to score; `details["cause"]` says why.
        """
        self._refuse(manifest, signature)
        log("starting the image once, to check it")
        log(host_sandbox(self._settings.sandbox).describe(network))
        with full_disk_as_cause():
            folders = self._unpacked(manifest)
            report = check_start(manifest, folders, sample, network, self._settings, log)
        log(f"ready after {report.cold_start:.2f} s, using {size_text(report.memory)}")
        if report.scoring_time is None:
            log("there is no sample input, so nothing was scored")
        else:
            log(f"scored the sample in {report.scoring_time * 1000:.0f} ms")
        return report

    def optimize(
        self, manifest: Manifest, signature: Signature, sample: JsonValue, log: Log
    ) -> Conversion:
        """Look for a faster form of the model; the image's environment has the converters.

        Raises:
            BuildFailed: The search failed or passed a limit; `details["cause"]` says why.
        """
        self._refuse(manifest, signature)
        with full_disk_as_cause():
            return convert(manifest, self._unpacked(manifest), sample, self._settings, log)

    def profile(
        self,
        image: str,
        manifest: Manifest,
        signature: Signature | None,
        sample: JsonValue,
        request: ProfileImage,
        log: Log,
    ) -> Profile:
        """Measure an image, `name:version`, under rising concurrency.

        Raises:
            BuildFailed: It does not start, or fails to score; `details["cause"]` says why.
            Cancelled: It is not wanted any longer.
        """
        self._refuse(manifest, signature)
        folders = self._unpacked(manifest)
        return profile_image(image, manifest, folders, sample, request, self._settings, log)

    @contextmanager
    def started(
        self,
        manifest: Manifest,
        signature: Signature | None,
        replica: ReplicaSettings,
        purpose: str,
        log: Log,
    ) -> Iterator[Watch]:
        """An image, ready, with the settings of a service; it is ended with the context.

        Raises:
            BuildFailed: It does not start; `details["cause"]` says why.
            Cancelled: It is not wanted any longer.
        """
        self._refuse(manifest, signature)
        folders, limits = self._unpacked(manifest), Limits.of_replica(replica)
        log(f"starting one replica, workers: {replica.workers}", purpose)
        with (
            trial_folder() as folder,
            started(
                manifest, folders, folder, replica, limits, self._settings, purpose, log
            ) as watch,
        ):
            yield watch

    def _refuse(self, manifest: Manifest, signature: Signature | None) -> None:
        """Refuse to start what cannot run here, or what nobody trusted vouches for."""
        refusal = (
            why_unsuitable(manifest)
            or why_refused(self._settings.sandbox)
            or self.trusted.why_refused(manifest.digest, signature)
        )
        if refusal is not None:
            raise build_failed(refusal)

    def _model_layer(
        self, models: Sequence[Model], converted: Mapping[str, bytes] | None, log: Log
    ) -> Layer:
        inputs: list[JsonValue] = [_model_inputs(model) for model in models]
        if converted is None:
            return self._layer(
                LayerKind.MODEL,
                inputs,
                lambda: parts.model_layer(models, self._blobs, self._layers),
                log,
            )
        inputs += [[name, sha256(content).hexdigest()] for name, content in converted.items()]
        return self._layer(
            LayerKind.MODEL,
            inputs,
            lambda: parts.converted_layer(models[0], converted, self._blobs, self._layers),
            log,
        )

    def _layer(
        self, kind: LayerKind, inputs: JsonValue, write: Callable[[], Layer], log: Log
    ) -> Layer:
        layer = self._known.find(kind, inputs)
        if layer is not None:
            log(f"{kind}: cached, {_size(layer)}")
            return layer
        layer = write()
        self._known.remember(layer, inputs)
        log(f"{kind}: {_size(layer)}")
        return layer

    def _unpacked(self, manifest: Manifest) -> dict[LayerKind, Path]:
        return {
            layer.kind: self._layers.path(layer.digest)
            or self._layers.unpack(layer.digest, self._blobs.open(layer.digest), layer.size)
            for layer in manifest.layers
        }


def _model_inputs(model: Model) -> JsonValue:
    files = sorted(model.files, key=lambda file: file.path)
    return [model.name, model.version, [[file.path, file.digest] for file in files]]


def _size(layer: Layer) -> str:
    return f"{size_text(layer.size)}, {layer.digest}"


def _platform(base: str, platform: str | None) -> Platform:
    if platform is None:
        return usual_platform(base)
    system, _, architecture = platform.partition("/")
    return Platform(os=system, architecture=architecture)


def _base(ground: Ground) -> str:
    if ground.base is None:
        return "none, so the image runs only as processes of a host"
    return f"{ground.base.origin}, {size_text(ground.base.size)}, {ground.base.digest}"
