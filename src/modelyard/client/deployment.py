"""One command for all: from local files to a ready service, doing only what differs.

Every step first looks at what is there. So the same call again does nothing, and a call that was
interrupted is continued by making it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import JsonValue

from modelyard.client.files import LocalFile, code_files, collect
from modelyard.client.images import Images, base_reference, requirement_lines
from modelyard.client.models import Models
from modelyard.client.operations import OnLog, Operations
from modelyard.client.services import Services
from modelyard.client.transfer import Progress, digest
from modelyard.domain.change import split_traffic, traffic_text
from modelyard.domain.image import Image, ImageState
from modelyard.domain.model import Model
from modelyard.domain.service import Network, ReplicaSettings, Service
from modelyard.domain.service_file import ModelSource, ServiceFile
from modelyard.domain.validation import compose
from modelyard.domain.values import Value
from modelyard.errors import InvalidRequest, NotFound
from modelyard.schemas import ChangeLabels

Found = TypeVar("Found")


class Action(StrEnum):
    """What a step does."""

    REGISTER = "register"
    BUILD = "build"
    DEPLOY = "deploy"
    UPDATE = "update"
    KEEP = "keep"
    """Nothing: it is as wanted."""


class Step(Value):
    """One step of a deploy."""

    kind: str
    """`model`, `image` or `service`."""
    name: str
    """Its name, without the version."""
    action: Action
    """What was, or would be, done."""
    reference: str | None = None
    """`name:version` that comes of it; null in a plan when the step would make a new version."""
    changes: tuple[str, ...] = ()
    """What differs from what is there."""


class Deployed(Value):
    """What a deploy did, or would do."""

    planned: bool
    """True when nothing was done."""
    steps: tuple[Step, ...]
    """One for each model, one for each image, one for the service."""
    service: Service | None = None
    """The service as it is now; null in a plan of a first deploy."""

    @property
    def changed(self) -> bool:
        """Something was, or would be, done."""
        return any(step.action is not Action.KEEP for step in self.steps)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told while a deploy goes on."""

    progress: Progress | None = None
    on_log: OnLog | None = None
    on_step: Callable[[Step], None] | None = None


@dataclass(frozen=True, slots=True)
class _Code:
    """What an image is built from besides models."""

    script: str | None
    files: list[LocalFile]
    requirements: tuple[str, ...]


class Deployer:
    """Brings one service to what a service file says.

    Args:
        models, images, services, operations: Of the server.
        file: What is wanted.
        base: Folder that the file's paths are relative to.
        plan: Only find out what would be done.
        listener: Who is told.
    """

    def __init__(
        self,
        models: Models,
        images: Images,
        services: Services,
        operations: Operations,
        *,
        file: ServiceFile,
        base: Path,
        plan: bool,
        listener: Listener,
    ) -> None:
        self._models = models
        self._images = images
        self._services = services
        self._operations = operations
        self._file = file
        self._base = base
        self._plan = plan
        self._listener = listener
        self._steps: list[Step] = []

    def run(self) -> Deployed:
        """Do what differs, or find out what does."""
        image = self._built() if self._file.split is None else self._present(self._file.split)
        service = self._deploy(image)
        return Deployed(planned=self._plan, steps=tuple(self._steps), service=service)

    def _built(self) -> str | None:
        """The image that the file describes; None in a plan that would build it."""
        # Everything local is read first: a slip in the last line costs no upload of gigabytes.
        code = self._code()
        files = [self._local(source) for source in self._file.sources]
        models = [
            self._registered(source) if found is None else self._register(source, found)
            for source, found in zip(self._file.sources, files, strict=True)
        ]
        return self._build(models, code)

    def _present(self, split: Mapping[str, int]) -> str:
        """The one of these images that gets most of the traffic, when all of them are built."""
        for image in [self._images.get(reference) for reference in split]:
            image.built_manifest()
            self._done("image", image.name, Action.KEEP, image.reference)
        return max(split, key=lambda image: split[image])

    def _code(self) -> _Code:
        file = self._file
        script, files = code_files(
            None if file.script is None else self._base / file.script,
            [self._base / other for other in file.files],
        )
        given = file.requirements
        path = self._base / given if isinstance(given, str) else given
        return _Code(script, files, requirement_lines(path))

    def _local(self, source: ModelSource) -> list[LocalFile] | None:
        return None if source.path is None else collect(self._base / source.path)

    def _registered(self, source: ModelSource) -> str:
        model = self._models.get(source.reference or "")
        self._done("model", model.name, Action.KEEP, model.reference)
        return model.reference

    def _register(self, source: ModelSource, files: list[LocalFile]) -> str | None:
        name = source.name or self._file.name
        latest = _or_none(lambda: self._models.get(name))
        changes = _file_changes(latest, files)
        if latest is not None and not changes:
            self._done("model", name, Action.KEEP, latest.reference)
            return latest.reference
        if self._plan:
            self._done("model", name, Action.REGISTER, None, changes)
            return None
        fields = source.model_dump(exclude={"path", "reference"}, exclude_unset=True)
        model = self._models.register_files(
            {**fields, "name": name}, files, self._listener.progress
        )
        self._done("model", name, Action.REGISTER, model.reference, changes)
        return model.reference

    def _build(self, models: Sequence[str | None], code: _Code) -> str | None:
        name = self._file.image or self._file.name
        if self._plan:
            return self._planned_build(name, models, code)
        fields = {
            "name": name,
            "models": models,
            "script": code.script,
            "requirements": code.requirements,
            "sample": self._file.sample,
            "base": base_reference(self._file.base, self._base),
            "network": self._network(),
            **self._file.build.model_dump(exclude_defaults=True),
        }
        accepted = self._images.start_build(fields, code.files)
        image = self._images.wait(accepted, self._listener.on_log)
        action = Action.KEEP if accepted.reused else Action.BUILD
        self._done("image", name, action, image.reference)
        return image.reference

    def _network(self) -> Network:
        """What the image may reach during its check: the same as in the service."""
        wanted = self._file.settings
        service = _or_none(lambda: self._services.get(self._file.name))
        if service is None or "network" in wanted.model_fields_set:
            return wanted.network
        return service.settings.network

    def _planned_build(self, name: str, models: Sequence[str | None], code: _Code) -> str | None:
        references = [model for model in models if model is not None]
        if len(references) == len(models):
            sample, base = self._file.sample, base_reference(self._file.base, self._base)
            for image in self._images.page(name=name, limit=20).items:
                same = _is_from(image, references, code, sample) and _is_on(image, base)
                same = same and image.options == self._file.build
                if same and self._has_code(image, code):
                    self._done("image", name, Action.KEEP, image.reference)
                    return image.reference
        self._done("image", name, Action.BUILD)
        return None

    def _has_code(self, image: Image, code: _Code) -> bool:
        local = {file.place: digest(file).digest for file in code.files}
        return local == self._images.code_digests(image)

    def _deploy(self, image: str | None) -> Service | None:
        name = self._file.name
        service = _or_none(lambda: self._services.get(name))
        if service is None:
            if not self._plan:
                service = self._first_deploy(image)
            self._done("service", name, Action.DEPLOY)
            return service
        changes = self._service_changes(service, image)
        if changes and not self._plan:
            service = self._change(service, image)
        elif not self._plan:
            service = self._services.settled(service, self._listener.on_log)
        self._done("service", name, Action.UPDATE if changes else Action.KEEP, None, changes)
        return service

    def _first_deploy(self, image: str | None) -> Service:
        file = self._file
        wanted = {"target", "settings", "description", "tags", "properties"}
        fields = file.model_dump(include=wanted, exclude_unset=True)
        accepted = self._services.start_deploy({**fields, "name": file.name, "image": image})
        service = self._services.wait(accepted, self._listener.on_log)
        return self._change(service, image) if self._splits(service) else service

    def _change(self, service: Service, image: str | None) -> Service:
        settings = self._setting_changes(service)
        fields: dict[str, Any] = {"settings": settings}
        if self._file.split is None and image != service.image:
            fields["image"] = image
        replaces = self._replaces(service, image)
        if self._file.canary is not None and replaces:
            fields["canary"] = self._file.canary
        if self._file.replay is not None and replaces:
            fields["replay"] = self._services.prove(
                service.name, fields, self._file.replay, self._listener.on_log
            )
        labels = self._label_changes(service)
        if labels:
            service = self._services.change_labels(
                service.name, compose(ChangeLabels, labels, "the change")
            )
        if self._splits(service):
            shares = {"shares": self._file.split, "settings": settings}
            accepted = self._services.start_split(service.name, shares)
        elif settings or "image" in fields:
            accepted = self._services.start_update(service.name, fields)
        else:
            return self._services.settled(service, self._listener.on_log)
        return self._services.wait(accepted, self._listener.on_log)

    def _service_changes(self, service: Service, image: str | None) -> tuple[str, ...]:
        if self._file.target != service.target:
            raise InvalidRequest(
                f"service `{service.name}` runs on `{service.target}`, not `{self._file.target}`",
                hint="delete it first, or give the new one another name",
            )
        changes = list(self._traffic_changes(service, image))
        current = service.settings.model_dump(mode="json")
        for name, value in self._setting_changes(service).items():
            shown = "" if name == "environment" else f" {current[name]} → {value}"
            changes.append(f"{name}{shown}")
        gate = self._file.replay
        if gate is not None and self._replaces(service, image):
            changes.append(f"only if it passes a replay of {gate.requests} requests")
        return (*changes, *(_LABEL_WORDS[name] for name in self._label_changes(service)))

    def _traffic_changes(self, service: Service, image: str | None) -> Iterator[str]:
        before = service.image
        if service.rollout is None:
            before = traffic_text(split_traffic(service.deployments)) or before
        if self._file.split is not None and self._splits(service):
            yield f"traffic {before} → {traffic_text(self._file.split)}"
        elif self._file.split is None and image != service.image:
            yield f"image {before} → {image or 'the new one'}"

    def _splits(self, service: Service) -> bool:
        """Whether the file wants the traffic shared otherwise than it is now.

        While a candidate is tried, it does in any case: its shares only look like a split.
        """
        wanted = self._file.split
        shared = split_traffic(service.deployments) or {service.image: 100}
        return wanted is not None and (service.rollout is not None or wanted != shared)

    def _replaces(self, service: Service, image: str | None) -> bool:
        """Whether other replicas take the place of those of now."""
        settings = self._setting_changes(service)
        return image != service.image or bool(settings.keys() & ReplicaSettings.model_fields.keys())

    def _setting_changes(self, service: Service) -> dict[str, Any]:
        wanted = self._file.settings.model_dump(mode="json", exclude_unset=True)
        current = service.settings.model_dump(mode="json")
        return {name: value for name, value in wanted.items() if current[name] != value}

    def _label_changes(self, service: Service) -> dict[str, Any]:
        file = self._file
        changes: dict[str, Any] = {}
        if "description" in file.model_fields_set and file.description != service.description:
            changes["description"] = file.description
        if "tags" in file.model_fields_set and file.tags != service.tags:
            changes["tags"] = file.tags
        if not file.properties.items() <= service.properties.items():
            changes["add_properties"] = file.properties
        return changes

    def _done(
        self,
        kind: str,
        name: str,
        action: Action,
        reference: str | None = None,
        changes: tuple[str, ...] = (),
    ) -> None:
        step = Step(kind=kind, name=name, action=action, reference=reference, changes=changes)
        self._steps.append(step)
        if self._listener.on_step is not None:
            self._listener.on_step(step)


def _is_from(image: Image, models: Sequence[str], code: _Code, sample: JsonValue) -> bool:
    """The image was built from these inputs, as far as it says so itself.

    Without a sample in the file any will do: it is for the check and not in the image.
    """
    return (
        image.state is ImageState.SUCCEEDED
        and image.models == tuple(models)
        and (image.script, image.requirements) == (code.script, code.requirements)
        and image.check is not None
        and sample in (None, image.check.sample)
    )


def _is_on(image: Image, base: str | None) -> bool:
    """The image stands on this base, as far as its name says; a tag is taken for what it was."""
    named = (image.base or "").partition("@")[0]
    return base in (None, image.base, named) or named.endswith(f"/{base}")


_LABEL_WORDS = {"description": "description", "tags": "tags", "add_properties": "properties"}


def describe(fields: Mapping[str, Any]) -> ServiceFile:
    """The service file that says what the arguments of `Client.deploy` say; None is left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    given["models"] = [_source(model) for model in given.get("models", ())]
    if "model" in given:
        given["model"] = _source(given["model"])
    if isinstance(given.get("requirements"), os.PathLike):
        given["requirements"] = os.fspath(given["requirements"])
    given["files"] = [os.fspath(path) for path in given.get("files", ())]
    return compose(ServiceFile, given, "the service")


def _source(model: str | os.PathLike[str] | Model | ModelSource) -> str | dict[str, Any]:
    if isinstance(model, Model):
        return {"reference": model.reference}
    if isinstance(model, ModelSource):
        return model.model_dump(exclude_unset=True)
    return model if isinstance(model, str) else {"path": os.fspath(model)}


def _file_changes(latest: Model | None, files: Sequence[LocalFile]) -> tuple[str, ...]:
    """What differs between the latest version and local files; hashed only if sizes agree."""
    if latest is None:
        return ("it is the first",)
    there = {file.path: file for file in latest.files}
    here = {file.place: file for file in files}
    changes = [f"{path} is new" for path in here.keys() - there.keys()]
    changes += [f"{path} is gone" for path in there.keys() - here.keys()]
    for path in here.keys() & there.keys():
        same_size = here[path].size == there[path].size
        if not same_size or digest(here[path]).digest != there[path].digest:
            changes.append(f"{path} differs")
    return tuple(sorted(changes))


def _or_none(get: Callable[[], Found]) -> Found | None:
    try:
        return get()
    except NotFound:
        return None
