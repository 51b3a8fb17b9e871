"""A service file: everything `modelyard deploy -f service.yaml` needs, in one document.

Its JSON Schema is `docs/reference/service.schema.json`. What a file does not say stays as it is on
the server, or has its default at the first deploy.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from modelyard.domain.build import BuildOptions
from modelyard.domain.replay import ReplayGate
from modelyard.domain.rollout import Canary
from modelyard.domain.service import ServiceSettings
from modelyard.domain.validation import compose
from modelyard.domain.values import Description, Labels, Name, ServiceName, Shares, Spec
from modelyard.errors import InvalidRequest

_VERSIONED = re.compile(r"[a-z0-9][a-z0-9._-]*:[1-9][0-9]*")


class ModelSource(Spec):
    """A model of the service: local files to register, or a version that is registered."""

    path: str | None = Field(None, min_length=1)
    """File or folder, relative to the service file; registered when its bytes differ from those of
    the latest version."""
    reference: str | None = None
    """`name:version`, or `name` for the latest version, of a model that is registered."""
    name: Name | None = None
    """Name to register `path` under; unset takes the service's. Needed for each of several."""
    framework: str | None = None
    """What trained it, such as `scikit-learn`; unset guesses from the format."""
    framework_version: str | None = None
    """Its version."""
    description: Description = ""
    """Of the version that is registered."""
    tags: Labels = {}
    """Of the version that is registered."""
    properties: Labels = {}
    """Of the version that is registered."""
    sample_input: JsonValue = None
    """A request body that the model can score."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.reference is None):
            raise ValueError("give either `path` or `reference`")
        if self.reference is not None and self.model_fields_set - {"reference"}:
            raise ValueError("a registered model is named by `reference` alone")
        return self


def short_form(source: object) -> object:
    """Read a model given as text: `iris:3` is a registered version, anything else a path."""
    if not isinstance(source, str):
        return source
    return {"reference" if _VERSIONED.fullmatch(source) else "path": source}


ModelInput = Annotated[
    ModelSource, BeforeValidator(short_form, json_schema_input_type=str | ModelSource)
]


def _with_versions(shares: dict[str, int]) -> dict[str, int]:
    for image in shares:
        if _VERSIONED.fullmatch(image) is None:
            raise ValueError(f"`{image[:200]}` is not `name:version` of an image: `digits:2`")
    return shares


_BESIDE_SPLIT = {"name", "split", "target", "settings", "description", "tags", "properties"}
"""Fields of a file that shares the traffic among images: all but what one is made from and tried
with."""


class ServiceFile(Spec):
    """A service, with everything it is made from."""

    name: ServiceName
    """Name of the service; it becomes part of its address."""
    model: ModelInput | None = None
    """The model: a path relative to this file, a registered `name:version`, or the long form."""
    models: tuple[ModelInput, ...] = Field((), max_length=100)
    """The models when there are several; give either `model` or `models`."""
    script: str | None = Field(None, min_length=1)
    """The scoring script, with `init()` and `run(data)`, relative to this file; unset serves the
    one model by its own methods."""
    files: tuple[str, ...] = ()
    """Files and folders that the script needs, relative to this file."""
    requirements: str | tuple[str, ...] | None = None
    """A `requirements.txt`, conda `.yml` or `pyproject.toml`, or a list of requirement lines; unset
    is what the model needs when there is no script, and else nothing."""
    sample: JsonValue = None
    """Request body for the check; unset takes the first model's `sample_input`."""
    image: Name | None = None
    """Name of the image; unset takes the service's."""
    base: str | None = Field(None, min_length=1)
    """What the image stands on in a container: `host`, a minimal base of the server's own Python;
    an image in a registry; the path of an OCI layout; or `none`; unset takes the server's
    setting."""
    build: BuildOptions = BuildOptions()
    """Ways to build the image."""
    split: Annotated[Shares, AfterValidator(_with_versions)] | None = None
    """Images that are built and the percent of the traffic that each gets, `digits:1: 80%`;
    together 100. It stands in place of everything that an image is made from, of `canary` and of
    `replay`."""
    target: str = "local"
    """Where replicas run: `local` as processes, `container` in the engine of the host."""
    settings: ServiceSettings = ServiceSettings()
    """What is written here is enforced at every deploy; what is not stays as it is."""
    canary: Canary | None = None
    """How another image or other replica settings get their traffic; unset: all at once."""
    replay: ReplayGate | None = None
    """What captured requests have to show before another image or other replica settings get into
    the service; unset: nothing."""
    description: Description = ""
    """Free text about the service."""
    tags: Labels = {}
    """Tags of the service; replaced at every deploy when written here."""
    properties: Labels = {}
    """Properties of the service; only ever added."""

    @model_validator(mode="after")
    def _models(self) -> Self:
        if self.split is not None:
            return self._without_an_image_of_its_own()
        if self.model is not None and self.models:
            raise ValueError("give either `model` or `models`")
        if self.script is None and len(self.sources) != 1:
            raise ValueError("give a `script`, or one `model` to serve without a script")
        if self.script is not None and self.build.optimize:
            raise ValueError("`build.optimize` is for a model that is served without a `script`")
        paths = [source for source in self.sources if source.path is not None]
        if len(paths) > 1 and any(source.name is None for source in paths):
            raise ValueError("each of several models needs a `name`")
        return self

    def _without_an_image_of_its_own(self) -> Self:
        said = self.model_fields_set - _BESIDE_SPLIT
        if said:
            others = ", ".join(f"`{name}`" for name in ServiceFile.model_fields if name in said)
            raise ValueError(
                "`split` is of images that are built, each at its share at once: "
                f"leave out {others}"
            )
        return self

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """The models, in the order in which the image gets them."""
        return self.models if self.model is None else (self.model,)


def parse_service_file(text: str, place: str) -> ServiceFile:
    """Read the text of a service file.

    Args:
        text: YAML; JSON is YAML too.
        place: What to call it in errors.

    Raises:
        InvalidRequest: Names the line or the field that is wrong.
    """
    try:
        document: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRequest(
            f"`{place}` is not YAML: {_where(error)}", hint="correct that line and try again"
        ) from None
    if not isinstance(document, dict):
        raise InvalidRequest(
            f"`{place}` is not a service file", hint="it begins with `name: <service>`"
        )
    return compose(ServiceFile, document, f"`{place}`")


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).replace("\n", " ")
