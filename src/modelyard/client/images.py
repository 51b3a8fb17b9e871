"""Images: build, find, label, read the build log, delete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import httpx2
from pydantic import BaseModel, JsonValue

from modelyard.client import moving
from modelyard.client.code_layer import code_digests
from modelyard.client.collection import Collection
from modelyard.client.connection import Connection, unreachable
from modelyard.client.files import LocalFile, StrPath, code_files
from modelyard.client.lines import read_lines
from modelyard.client.logs import read_log
from modelyard.client.models import version_path
from modelyard.client.operations import OnLog, Operations
from modelyard.client.transfer import Progress, upload
from modelyard.domain.image import Image, ImageState
from modelyard.domain.model import Model
from modelyard.domain.operation import LogLine, Operation
from modelyard.domain.packages import PackageUse
from modelyard.domain.profile import Profile
from modelyard.domain.requirements import parse_lines, read_requirements
from modelyard.domain.search import Page
from modelyard.domain.signature import PublicKey
from modelyard.domain.validation import compose
from modelyard.domain.verification import Verification, VerifiedPart
from modelyard.errors import InvalidRequest
from modelyard.schemas import (
    AcceptedImage,
    BuildImage,
    ExportImage,
    ImageForm,
    ImportImage,
    ProfileImage,
    PullImage,
    PushedImage,
    PushImage,
)

_LAYER = 600.0
"""Seconds that the server may take to read one layer."""

Requirements = StrPath | Sequence[str]
"""A `requirements.txt`, conda `.yml` or `pyproject.toml`, or requirement lines."""


class Images(Collection[Image]):
    """The image registry."""

    _kind = "image"
    _item = Image
    _page = Page[Image]

    def __init__(self, connection: Connection, operations: Operations) -> None:
        super().__init__(connection)
        self._operations = operations

    def build(
        self,
        name: str,
        *,
        models: Sequence[str | Model],
        script: StrPath | None = None,
        files: Sequence[StrPath] = (),
        requirements: Requirements | None = None,
        sample: JsonValue = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        base: StrPath | None = None,
        platform: str | None = None,
        slim: bool = False,
        allow_sources: bool = False,
        upgrade: bool = False,
        optimize: bool = False,
        network: str = "none",
        wait: bool = True,
        on_log: OnLog | None = None,
    ) -> Image:
        """Build the next version of an image; the same inputs give the image that is there.

        Args:
            name: Name of the image.
            models: Models to put inside, such as `iris:3`, or `iris` for the latest version.
            script: The scoring script, with `init()` and `run(data)`; unset serves the one model by
                its own methods.
            files: Files and folders that the script needs. They keep their paths relative to the
                script's folder; what is elsewhere stands beside the script under its own name.
            requirements: What the script imports; unset means nothing but the standard library,
                or, without a script, what the model needs.
            sample: Request body for the check; unset takes the first model's sample input.
            tags: Labels that may change later.
            properties: Facts that never change.
            description: Free text.
            base: What the image stands on in a container: `host`, a minimal base of the server's
                own Python; an image in a registry, such as `python:3.11-slim`; the path of an OCI
                layout; or `none`; unset takes the server's setting.
            platform: What the image is for, such as `linux/arm64`; unset takes the server's own.
                It is not checked if the server cannot start it.
            slim: Leave tests, headers, stubs and documentation of packages out of the environment;
                `Image.packages` tells what that saved.
            allow_sources: Build packages without wheels from their sources, which runs code of
                theirs; only for the server's own platform, and marked as not reproducible.
            upgrade: Resolve the requirements anew instead of keeping an earlier lock.
            optimize: Serve a faster form of the one model, without a script, if there is one that
                answers the same; `Image.optimization` tells what was tried and gained.
            network: What the image may reach during its check: `none`, or `outbound` for an
                `init()` that downloads.
            wait: Return when the image is built; otherwise at once, in the state Running. An
                interrupt while waiting cancels the build, which leaves no version behind.
            on_log: Called with every line of the build log while waiting.

        Raises:
            InvalidRequest: Something given is missing or wrong, found before anything is built.
            BuildFailed: No image came of it; `details["cause"]` says why.
        """
        place, collected = code_files(script, files)
        fields = {
            "name": name,
            "models": tuple(model_reference(model) for model in models),
            "script": place,
            "requirements": requirement_lines(requirements),
            "sample": sample,
            "tags": dict(tags or {}),
            "properties": dict(properties or {}),
            "description": description,
            "base": base_reference(base),
            "upgrade": upgrade,
            **({} if platform is None else {"platform": platform}),
            "network": network,
            **_set(optimize=optimize, slim=slim, allow_sources=allow_sources),
        }
        accepted = self.start_build(fields, collected)
        if not wait:
            return accepted.image
        if accepted.reused:  # whoever began it may wait for it, too
            return self.wait(accepted, on_log)
        moving.wait_or_cancel(self._operations, accepted.operation, on_log, "build")
        return self.get(accepted.image.reference)

    def start_build(self, fields: Mapping[str, Any], files: Sequence[LocalFile]) -> AcceptedImage:
        """Begin a build; `fields` are those of `BuildImage`, without its files."""
        stored = upload(self._connection, files)
        request = compose(BuildImage, {**fields, "files": stored}, "the image")
        return self._connection.create("POST", "/images", request, AcceptedImage)

    def wait(self, accepted: AcceptedImage, on_log: OnLog | None = None) -> Image:
        """Wait until an accepted build ended well, and return its image.

        Raises:
            BuildFailed: No image came of it; `details["cause"]` says why.
        """
        if accepted.image.state is ImageState.SUCCEEDED:
            return accepted.image
        self._operations.wait(accepted.operation.id, on_log=on_log)
        return self.get(accepted.image.reference)

    def profile(
        self,
        reference: str,
        *,
        sample: JsonValue = None,
        latency: float | str | None = None,
        rate: float | None = None,
        cpu: float = 1.0,
        duration: float | str = 2.0,
        max_concurrency: int = 64,
        network: str = "none",
        on_log: OnLog | None = None,
    ) -> Profile:
        """Measure an image under rising concurrency on the server's machine, and wait for it.

        Args:
            reference: The image, such as `iris:3`.
            sample: Request body to send; unset takes what the check of the image scored.
            latency: Goal for 95 of 100 answers, `"50ms"` or seconds.
            rate: Goal in requests per second, for the recommended number of replicas.
            cpu: Cores of the replica, as in the settings of a service.
            duration: How long each level is measured, `"2s"` or seconds.
            max_concurrency: Most requests in flight that are tried.
            network: What the replica may reach, as in the settings of a service.
            on_log: Called with a line for every level.

        Raises:
            NotFound: There is no such image.
            InvalidRequest: There is nothing to send, or a value is out of bounds.
            OperationFailed: The image did not start or did not score; `details["cause"]` says why.
        """
        fields = {
            "sample": sample,
            "latency": latency,
            "rate": rate,
            "cpu": cpu,
            "duration": duration,
            "max_concurrency": max_concurrency,
            "network": network,
        }
        request = compose(ProfileImage, fields, "the profile")
        path = f"{self._path(reference)}/profiles"
        operation = self._connection.create("POST", path, request, Operation, repeatable=False)
        ended = moving.wait_or_cancel(self._operations, operation, on_log, "profile")
        return Profile.model_validate(ended.result)

    def find_package(self, requirement: str) -> Iterator[PackageUse]:
        """Every image with a package, newest first, and the services that use it.

        Args:
            requirement: A name, or a name with versions, such as `jinja2<3.1.4`.

        Raises:
            InvalidRequest: It is something else.
        """
        params: dict[str, Any] = {"requirement": requirement, "limit": 1000}
        while True:
            page = self._connection.get("/images/packages", Page[PackageUse], params)
            yield from page.items
            if page.next is None:
                return
            params["page"] = page.next

    def key(self) -> PublicKey:
        """The public key that checks the signatures of the workspace's images."""
        return self._connection.get("/images/key", PublicKey)

    def sbom(self, reference: str) -> bytes:
        """What is inside an image: a CycloneDX 1.6 document, the very bytes that were signed.

        Raises:
            NotFound: There is no such image, or it has no SBOM.
            IntegrityError: The stored document is not the one that was signed.
        """
        return self._connection.request("GET", f"{self._path(reference)}/sbom").content

    def verify(
        self, reference: str, *, on_part: Callable[[VerifiedPart], None] | None = None
    ) -> Verification:
        """Have the server read all that it stores of an image, and say what is wrong.

        Digests of manifest, SBOM and every layer are computed anew, and the signature is checked.

        Args:
            reference: The image, such as `iris:3`.
            on_part: Called with every part when it was looked at.

        Raises:
            NotFound: There is no such image.
            Conflict: It is not built.
        """
        image = self.get(reference).reference
        parts = []
        try:
            path = f"{self._path(image)}/verification"
            with self._connection.stream(path, silence=_LAYER) as response:
                for part in read_lines(response, VerifiedPart):
                    parts.append(part)
                    if on_part is not None:
                        on_part(part)
        except httpx2.TransportError as error:
            raise unreachable(self._connection.url, error) from error
        intact = bool(parts) and all(part.problem is None for part in parts)
        return Verification(image=image, intact=intact, parts=tuple(parts))

    def export(
        self,
        reference: str,
        target: StrPath | BinaryIO,
        *,
        form: str = "oci",
        overwrite: bool = False,
        on_log: OnLog | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write an image into a file, a stream or a folder.

        Args:
            reference: The image, such as `iris:3`.
            target: The file, or an open binary stream. A `containerfile` that is not written into
                a stream becomes a new folder.
            form: `oci`, a layout in a tar; `docker`, what `docker load` of any version takes; or
                `containerfile`, from which docker or podman builds the same.
            overwrite: A file may be replaced; a folder never is.
            on_log: Called with a line for every layer that is made ready.
            progress: Called with the bytes written so far and in all.

        Raises:
            NotFound: There is no such image.
            Conflict: It is not built or has no base; or there is a file already.
            InsufficientStorage: The disk is full, here or there; nothing half is left.
        """
        request = compose(ExportImage, {"form": form}, "the export")
        if isinstance(target, (str, os.PathLike)):
            folder = request.form is ImageForm.CONTAINERFILE
            moving.expect_room(Path(target), overwrite and not folder)
        path = f"{self._path(reference)}/exports"
        operation = self._connection.create("POST", path, request, Operation, repeatable=False)
        moving.wait_or_cancel(self._operations, operation, on_log, "export")
        source = f"{path}/{request.form}"
        if not isinstance(target, (str, os.PathLike)):
            moving.download_stream(self._connection, source, target, progress)
        elif request.form is ImageForm.CONTAINERFILE:
            moving.download_folder(self._connection, source, Path(target), progress)
        else:
            moving.download_file(self._connection, source, Path(target), overwrite, progress)

    def import_(
        self,
        path: StrPath,
        *,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        signed: bool = False,
        on_log: OnLog | None = None,
        progress: Progress | None = None,
    ) -> Image:
        """Take in an image that was exported as `oci` or `docker`, and return it.

        Everything is compared with what it promises to be; on a host that can run it, it is started
        once. The same image under the same name is the one that is here.

        Args:
            path: The archive, or a folder with an OCI layout.
            name: Name that it gets; unset takes the one that it carries.
            tags: Labels that may change later.
            properties: Facts that never change.
            description: Free text.
            signed: Refuse it unless a key that is trusted there has signed it.
            on_log: Called with a line for every layer.
            progress: Called with the bytes sent so far and in all.

        Raises:
            InvalidRequest: There is no such file, or no image of Modelyard inside.
            OperationFailed: It is damaged, or did not start; nothing was taken in.
        """
        digest = moving.upload_image(self._connection, path, progress)
        fields = _arrival(name, tags, properties, description, signed) | {"digest": digest}
        request = compose(ImportImage, fields, "the import")
        return self._arrived("/images/imports", request, on_log, "import")

    def push(self, reference: str, to: str, *, on_log: OnLog | None = None) -> PushedImage:
        """Put an image into an image registry; only what is missing there is sent.

        The server does it, with the credentials that docker or podman have left for its user.

        Args:
            reference: The image, such as `iris:3`.
            to: Name there, `registry.example.org/team/iris:3`; `latest` without a tag. On this
                machine plain HTTP is spoken.
            on_log: Called with a line for every layer.

        Raises:
            NotFound: There is no such image.
            InvalidRequest: The name is none.
            Conflict: The image is not built, or has no base.
            OperationFailed: The registry cannot be reached, or refuses.
        """
        request = compose(PushImage, {"to": to}, "the push")
        path = f"{self._path(reference)}/pushes"
        operation = self._connection.create("POST", path, request, Operation, repeatable=False)
        ended = moving.wait_or_cancel(self._operations, operation, on_log, "push")
        return PushedImage.model_validate(ended.result)

    def pull(
        self,
        source: str,
        *,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        signed: bool = False,
        on_log: OnLog | None = None,
    ) -> Image:
        """Take in an image that was pushed to an image registry, and return it.

        It is compared and started once as by `import_`; layers that are here are not fetched.

        Args:
            source: Its name there, `registry.example.org/team/iris:3`, or with `@sha256:…`.
            name: Name that it gets here; unset takes the one that it carries.
            tags: Labels that may change later.
            properties: Facts that never change.
            description: Free text.
            signed: Refuse it unless a key that is trusted there has signed it.
            on_log: Called with a line for every layer.

        Raises:
            InvalidRequest: The name is none.
            OperationFailed: The registry cannot be reached or does not have it, it is no image of
                Modelyard, it is damaged, or did not start; nothing was taken in.
        """
        fields = _arrival(name, tags, properties, description, signed) | {"source": source}
        request = compose(PullImage, fields, "the pull")
        return self._arrived("/images/pulls", request, on_log, "pull")

    def _arrived(self, path: str, request: BaseModel, on_log: OnLog | None, what: str) -> Image:
        operation = self._connection.create("POST", path, request, Operation, repeatable=False)
        ended = moving.wait_or_cancel(self._operations, operation, on_log, what)
        assert isinstance(ended.result, dict)
        return self.get(str(ended.result["image"]))

    def code_digests(self, image: Image) -> dict[str, str]:
        """The digest of every code file of a built image, by its path."""
        return code_digests(self._connection, image)

    def log(self, reference: str, *, follow: bool = False) -> Iterator[LogLine]:
        """The lines of the build log; with `follow` until the build ended."""
        return read_log(
            self._connection,
            f"{self._path(reference)}/log",
            {},
            lambda: not follow or self.get(reference).state is not ImageState.RUNNING,
        )

    def delete(self, reference: str) -> None:
        """Delete an image; its number is never used again.

        Raises:
            NotFound: There is none.
            InUse: A service needs it; `details["users"]` lists which.
        """
        self._connection.request("DELETE", self._path(reference))

    def _path(self, reference: str) -> str:
        return version_path("image", reference)


def _arrival(
    name: str | None,
    tags: Mapping[str, str] | None,
    properties: Mapping[str, str] | None,
    description: str,
    signed: bool,
) -> dict[str, Any]:
    """The fields of `ImportImage` and `PullImage` that say what an image becomes here."""
    named = {} if name is None else {"name": name}
    labels = {"tags": dict(tags or {}), "properties": dict(properties or {})}
    return {**named, **labels, "description": description, **_set(signed=signed)}


def image_reference(image: str | Image) -> str:
    """The reference of an image that may be given as itself."""
    return image.reference if isinstance(image, Image) else image


def model_reference(model: str | Model) -> str:
    """The reference of a model that may be given as itself."""
    return model.reference if isinstance(model, Model) else model


def _set(**flags: bool) -> dict[str, bool]:
    """Flags that are set: a server of an older version need not know the others."""
    return {name: True for name, value in flags.items() if value}


def base_reference(base: StrPath | None, folder: Path = Path()) -> str | None:
    """What a base is called; a path, relative to `folder`, becomes absolute for the server."""
    if base is None:
        return None
    return str((folder / base).absolute()) if (folder / base).exists() else str(base)


def requirement_lines(requirements: Requirements | None) -> tuple[str, ...]:
    """The requirement lines in a file, or as given.

    Raises:
        InvalidRequest: The file cannot be read, or says something that cannot be built.
    """
    if requirements is None:
        return ()
    if isinstance(requirements, Sequence) and not isinstance(requirements, str):
        return parse_lines(requirements)
    path = Path(requirements)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidRequest(
            f"cannot read the requirements `{path}`: {reason}",
            hint="give a requirements.txt, a conda .yml or a pyproject.toml, or a list of lines",
        ) from error
    return read_requirements(path.name, text)
