"""Wire bodies of the REST interface that are not domain types."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue, StringConstraints, model_validator

from modelyard.domain.build import BuildOptions
from modelyard.domain.captured import AnswerForm, Tally
from modelyard.domain.channel import ChannelName, EmailAddress, WebhookUrl
from modelyard.domain.clients import Client
from modelyard.domain.difference import Tolerance
from modelyard.domain.image import Image
from modelyard.domain.operation import Operation
from modelyard.domain.profile import Goal
from modelyard.domain.replay import ReplayOptions
from modelyard.domain.rollout import Canary
from modelyard.domain.service import FieldPath, Network, Service, ServiceSettings
from modelyard.domain.values import (
    Bytes,
    Description,
    Digest,
    LabelKey,
    Labels,
    Name,
    Percent,
    RelativePath,
    Seconds,
    ServiceName,
    Share,
    Shares,
    Spec,
    Value,
)

BaseReference = Annotated[
    str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[!-~]+$")
]
ShortText = Annotated[str, StringConstraints(max_length=128, pattern=r"^[\w .+-]*$")]


class StoredBlob(Value):
    """Answer to an upload."""

    digest: Digest
    size: int


class FileReference(Spec):
    """A file that was uploaded before, and the path it gets."""

    path: RelativePath
    digest: Digest


class RegisterModel(Spec):
    """Register the next version of a model from uploaded files."""

    name: Name
    files: tuple[FileReference, ...] = Field(min_length=1, max_length=100_000)
    framework: ShortText | None = None
    framework_version: ShortText | None = None
    description: Description = ""
    tags: Labels = {}
    properties: Labels = {}
    sample_input: JsonValue = None


class ChangeLabels(Spec):
    """Change what may change on a model, an image or a service; what is absent stays."""

    tags: Labels | None = None
    """Replaces all tags."""
    add_tags: Labels = {}
    remove_tags: tuple[LabelKey, ...] = ()
    add_properties: Labels = {}
    """Properties are only added: a key that exists with another value is refused."""
    description: Description | None = None


class BuildImage(BuildOptions):
    """Build the next version of an image; the same inputs give the image that is there."""

    name: Name
    models: tuple[str, ...] = Field(max_length=100)
    """References, `iris:3` or `iris` for the latest."""
    script: RelativePath | None = None
    """The scoring script among `files`; unset serves the one model without a script."""
    files: tuple[FileReference, ...] = Field((), max_length=10_000)
    """The scoring script and whatever it imports or reads."""
    requirements: tuple[Annotated[str, StringConstraints(max_length=1000)], ...] = Field(
        (), max_length=1000
    )
    """Requirement lines such as `scikit-learn==1.7.2`; options are refused. None and no script:
    what the model's framework needs."""
    sample: JsonValue = None
    """Request body for the check; unset takes the first model's sample input."""
    upgrade: bool = False
    """Resolve the requirements anew instead of keeping the lock of the same requirements."""
    base: BaseReference | None = None
    """What the image stands on in a container: `host`, a minimal base of the server's own Python;
    an image in a registry; the path of an OCI layout there; or `none`; unset takes the server's
    setting `base`. A tag is resolved to a digest, which `Image.base` has."""
    network: Network = Network.NONE
    """What the image may reach during its check, as in the settings of a service."""
    description: Description = ""
    tags: Labels = {}
    properties: Labels = {}


class ProfileImage(Goal):
    """Measure an image under rising concurrency, for a goal if there is one."""

    sample: JsonValue = None
    """Request body to send; unset takes what the check of the image scored."""
    cpu: float = Field(1.0, gt=0, le=1024)
    """Cores of the replica, as in the settings of a service."""
    duration: Seconds = Field(2.0, ge=0.1, le=60)
    """How long each level is measured, `"2s"`."""
    max_concurrency: int = Field(64, ge=1, le=1024)
    """Most requests in flight that are tried."""
    network: Network = Network.NONE
    """What the replica may reach, as in the settings of a service."""


class ImageForm(StrEnum):
    """How an image is written into one tar."""

    OCI = "oci"
    """An OCI layout."""
    DOCKER = "docker"
    """What `docker load` of any version takes."""
    CONTAINERFILE = "containerfile"
    """A Containerfile and the layers that it adds."""


class ExportImage(Spec):
    """Make an image ready to be downloaded in this form."""

    form: ImageForm = ImageForm.OCI


class ImportImage(Spec):
    """Take in an image from an archive that was uploaded."""

    digest: Digest
    """Of the archive."""
    name: Name | None = None
    """Unset takes the name that the image carries."""
    signed: bool = False
    """Refuse it unless a key that is trusted here has signed it."""
    description: Description = ""
    tags: Labels = {}
    properties: Labels = {}


class PushImage(Spec):
    """Put an image into an image registry."""

    to: Annotated[str, StringConstraints(max_length=1000)]
    """`registry.example.org/team/digits:1`."""


class PullImage(Spec):
    """Take in an image from an image registry."""

    source: Annotated[str, StringConstraints(max_length=1000)]
    """`registry.example.org/team/digits:1`, or with `@sha256:…`."""
    name: Name | None = None
    """Unset takes the name that the image carries."""
    signed: bool = False
    """Refuse it unless a key that is trusted here has signed it."""
    description: Description = ""
    tags: Labels = {}
    properties: Labels = {}


class PushedImage(Value):
    """What a push has done; the result of its operation."""

    image: str
    """`name:version`."""
    to: str
    """Where it is now, by its tag."""
    digest: Digest
    """Of the OCI manifest there: `…@sha256:…` is always this image."""
    uploaded: int
    """Bytes that were sent."""
    size: int
    """Bytes of all of its blobs there."""


class AcceptedImage(Value):
    """Answer to a build: the image and the operation that builds it."""

    image: Image
    operation: Operation
    reused: bool
    """True when the same inputs were built before, so that nothing is to be done."""


class DeployService(Spec):
    """Create a service that runs an image."""

    name: ServiceName
    image: str
    target: str = "local"
    settings: ServiceSettings = ServiceSettings()
    description: Description = ""
    tags: Labels = {}
    properties: Labels = {}


class SettingsChange(Spec):
    """Settings to change; what is absent stays. The fields are those of `ServiceSettings`."""

    replicas: int | None = None
    max_replicas: int | None = None
    idle_time: Seconds | None = None
    cpu: float | None = None
    memory: Bytes | None = None
    scoring_timeout: Seconds | None = None
    startup_timeout: Seconds | None = None
    network: Network | None = None
    environment: dict[str, str] | None = None
    max_concurrent_requests: int | None = None
    max_queue_wait: Seconds | None = None
    cors_origins: tuple[str, ...] | None = None
    sticky: str | None = None
    capture: Share | None = None
    capture_space: Bytes | None = None
    capture_when_full: str | None = None
    capture_durable: bool | None = None
    capture_drop: tuple[str, ...] | None = None
    capture_hash: tuple[str, ...] | None = None
    capture_encrypt: tuple[str, ...] | None = None
    alerts: tuple[str, ...] | None = None
    judged: bool | None = None
    auth: str | None = None
    clients: tuple[str, ...] | None = None


class UpdateService(Spec):
    """Change the image or settings of a service."""

    image: str | None = None
    settings: SettingsChange = SettingsChange()
    canary: Canary | None = None
    """Try the change beside what serves, with a share of the traffic; null: all at once."""
    shadow: Percent | None = None
    """Try it with copies of so many percent of the requests, whose answers are compared with those
    that callers get, and dropped."""
    replay: UUID | None = None
    """Change it only if this replay has passed: of this service, of the same image and settings,
    and not older than a day."""

    @model_validator(mode="after")
    def _one_trial(self) -> Self:
        if self.canary is not None and self.shadow is not None:
            raise ValueError("give either `canary` or `shadow`: one after the other")
        return self


class ReplayService(ReplayOptions):
    """Score captured requests of a service with another image, and compare the answers."""

    image: str
    """The candidate: `name:version`, or `name` for the latest."""
    settings: SettingsChange = SettingsChange()
    """Settings of the candidate's replica that are not those of the service."""
    since: AwareDatetime | None = None
    """Only requests that were answered from then on."""
    until: AwareDatetime | None = None
    """Only requests that were answered before then."""


class ReproducePrediction(Spec):
    """Score a captured request once more with the image that answered it."""

    runs: int = Field(3, ge=1, le=100)
    """How often: whether the image agrees with itself shows only in several."""
    tolerance: Tolerance = Tolerance()
    """What counts as the same answer."""


class SplitService(Spec):
    """Have several images answer for a service, each with a share of its traffic."""

    shares: Shares
    """Percent by image, `{"digits:3": 80, "digits:4": 20}`; together 100."""
    settings: SettingsChange = SettingsChange()
    """Settings to change along with it."""


class AskToken(Spec):
    """Ask for a token of a service."""

    lifetime: Seconds = Field(3600.0, ge=60, le=7 * 24 * 3600)
    """How long it is good for, `"1h"`."""


class AskCertificate(Spec):
    """Ask for a certificate for a caller of a service."""

    client: Client
    """How the caller is called."""
    request: str = Field(max_length=16 << 10)
    """A certificate signing request (PKCS #10), as PEM: only its public key is taken from it."""
    lifetime: Seconds = Field(90 * 24 * 3600.0, ge=60, le=366 * 24 * 3600)
    """How long it is good for, `"90d"`."""


class AcceptedService(Value):
    """Answer to a deploy or an update: the service and the operation that brings it there."""

    service: Service
    operation: Operation
    unchanged: bool = False
    """True when the service was asked to be so before: nothing is to be done."""


class LogSegment(Spec):
    """A numbered piece of a replica's log, as an agent sends it home."""

    service: UUID
    replica: str
    epoch: int
    """Grows when the agent lost its state, so that numbers used again cannot overwrite."""
    sequence: int = Field(ge=0)
    """Number of this piece in the replica's log, from 0, without gaps."""
    text: str = Field(max_length=1 << 20)
    """Whole lines."""


class LogReceipt(Value):
    """Answer to a log segment."""

    next: int
    """The sequence that is expected next: everything below it is stored."""


class AskCaptured(Spec):
    """A question about captured records."""

    sql: str = Field(max_length=100_000)
    """One `SELECT` from `requests`."""
    service: ServiceName | None = None
    """Only the records of this service; unset takes all."""
    since: AwareDatetime | None = None
    """Only files with records from then on."""
    until: AwareDatetime | None = None
    """Only files with records before then."""
    form: AnswerForm = AnswerForm.JSON
    most_rows: int | None = Field(None, ge=1)
    """Rows of the answer; further ones are left out."""


class ForgetCaptured(Spec):
    """Which captured records of a service are to be deleted."""

    field: FieldPath
    """As in `capture_hash`: `customer_id`, or `customer.id`."""
    value: str | int | float | bool
    """What it is there; where it was hashed or encrypted, what it was."""


class CapturedTable(Value):
    """Answer to a question about captured records."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    """As DuckDB calls them."""
    rows: tuple[tuple[JsonValue, ...], ...]


class CaptureReceipt(Value):
    """Answer to a file of captured records."""

    next: int
    """The sequence that is expected next: everything below it is stored."""


class CaptureReport(Spec):
    """What became of requests on a host."""

    epoch: int
    tallies: tuple[Tally, ...] = Field(max_length=10_000)
    waiting: dict[UUID, int] = {}
    """Segments that are still there, by the id of their service."""


class AddChannel(Spec):
    """Make a channel that messages of alerts go to."""

    name: ChannelName
    webhook: WebhookUrl | None = None
    """Where to POST them, `https://…`."""
    email: EmailAddress | None = None
    """Who gets them by e-mail."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.webhook is None) == (self.email is None):
            raise ValueError("give either `webhook` or `email`")
        return self


class ServerInfo(Value):
    """What answers."""

    version: str
    workspace: str
    principal: str
    gateway: str | None
    """Address of the local agent's gateway, or null while it does not listen."""
    authority: str | None = None
    """PEM of the workspace's own certificate authority, which the gateway's certificate is from;
    null where it is from another, or there is none."""
    server_authority: str | None = None
    """The same, where the server's own certificate is from it."""
