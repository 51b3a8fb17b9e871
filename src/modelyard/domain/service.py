"""A service: stable name, address, keys; and the deployments that answer for it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, JsonValue, StringConstraints, field_validator, model_validator

from modelyard.domain.alert_rules import AlertRule
from modelyard.domain.cause import Cause
from modelyard.domain.clients import ClientName
from modelyard.domain.rollout import Rollout
from modelyard.domain.values import Bytes, Digest, Seconds, Share, Spec, Value, size_text


class ServiceState(StrEnum):
    """How a service is doing, as last seen."""

    TRANSITIONING = "Transitioning"
    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"
    FAILED = "Failed"
    DELETING = "Deleting"


class Authentication(StrEnum):
    """How callers of a service prove who they are."""

    KEY = "key"
    TOKEN = "token"  # noqa: S105 - a kind of authentication
    CERT = "cert"
    NONE = "none"


class KeySlot(StrEnum):
    """A service has two keys, so that one can be replaced while the other is in use."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


ORIGIN_PATTERN = r"^(\*|https?://[A-Za-z0-9.\[\]:-]+)$"

Origin = Annotated[str, StringConstraints(max_length=255, pattern=ORIGIN_PATTERN)]
"""Where a web page comes from: scheme, host and port, without a path; or `*`."""


HeaderName = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9-]*$", to_lower=True),
]
"""Name of a header field, kept in lower case; or empty."""


FieldPath = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
]
"""Name of a field in JSON, or the last names of its path with dots between them."""


class Network(StrEnum):
    """What a replica may reach by itself; requests reach it either way."""

    NONE = "none"
    OUTBOUND = "outbound"


class WhenFull(StrEnum):
    """What becomes of a record for which there is no room."""

    DROP_NEW = "drop_new"
    """It is thrown away, and counted."""
    DROP_OLD = "drop_old"
    """The oldest that are still on the host are thrown away for it, and counted."""
    REFUSE = "refuse"
    """The request is refused with 503, so that nothing is answered that is not recorded."""


class ReplicaSettings(Spec):
    """What one replica gets; a change replaces the replicas, one beside the other."""

    cpu: float = Field(1.0, gt=0, le=1024)
    """Cores: the number of worker processes (rounded down, at least 1) and of threads that
    numerical libraries may use (rounded up). A hard cap on the target `container` only."""
    memory: Bytes = Field(1 << 30, ge=64 << 20)
    """Limit for all processes of one replica together, `"1GiB"`; above it the replica is ended."""
    scoring_timeout: Seconds = Field(60.0, gt=0, le=3600)
    """Longest time for one request, `"60s"`; then the caller gets 504."""
    startup_timeout: Seconds = Field(300.0, gt=0, le=3600)
    """Longest time until a replica is ready, `"5m"`; then its start counts as hung."""
    network: Network = Network.NONE
    """`none`: what runs in the replica reaches nothing; `outbound`: it uses the host's network,
    as for a download in `init()`. On the target `local` it holds where the host has a sandbox."""
    environment: dict[str, str] = {}
    """Environment variables of the replica. Readable by everybody who may see the service."""

    @property
    def workers(self) -> int:
        """Processes of a replica that score."""
        return max(1, int(self.cpu))

    @field_validator("environment")
    @classmethod
    def _environment(cls, variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            if not name.isidentifier() or not name.isascii() or "\0" in value:
                raise ValueError(f"`{name[:100]}` is not an environment variable")
            if name.startswith(("LD_", "DYLD_", "PYTHON", "MODELYARD_")):
                raise ValueError(f"`{name[:100]}` belongs to the runtime and cannot be set")
        return variables


class ServiceSettings(ReplicaSettings):
    """All settings of a service."""

    replicas: int = Field(1, ge=0, le=256)
    """Running copies; the least of them where there is `max_replicas`. Changing it alone restarts
    nothing."""
    max_replicas: int | None = Field(None, ge=1, le=256)
    """With more than `replicas`, copies come and go with the load: as many as keep what is busy or
    waits at 70 % of what they may have in flight, up at once, down after a minute. With `replicas`
    0 the last one goes, too, and the next request waits for one to start."""
    idle_time: Seconds = Field(600.0, ge=1, le=7 * 24 * 3600)
    """Time without a request until the last replica goes, `"10m"`; only with `replicas` 0."""
    max_concurrent_requests: int = Field(16, ge=1, le=10_000)
    """Requests in flight at one replica; more wait at the gateway."""
    max_queue_wait: Seconds = Field(10.0, ge=0, le=3600)
    """Longest wait at the gateway, `"10s"`; then the caller gets 503."""
    auth: Authentication = Authentication.KEY
    """`key`: `Authorization: Bearer <key>` is needed; `token`: a signed token that ends by itself,
    in the same place; `cert`: a client certificate; `none`: everybody may score."""
    clients: tuple[ClientName, ...] = Field((), max_length=1000)
    """Who may score with `auth` `cert`, besides those with a certificate that the workspace has
    issued for the service: alternative names in certificates, `uri:spiffe://example.org/billing`,
    `dns:billing.example.org` or `email:ops@example.org`. A `*` stands for one whole part: the last
    of a URI's path, the first label of a host name, what is before the `@`."""
    sticky: HeaderName = ""
    """A header such as `x-user-id`, by whose value callers stay with one deployment while several
    share the traffic; empty: every request is shared out by itself."""
    cors_origins: tuple[Origin, ...] = Field((), max_length=100)
    """Web pages whose scripts may call the service and read its answers, `https://app.example`;
    `*` is any page. Browsers then ask first, which needs no key; the call itself does."""

    capture: Share = 0
    """How many requests are recorded, with their answers: `"100%"`, `"10%"` chosen at random, or
    `"off"`. Changing it restarts nothing."""
    capture_space: Bytes = Field(1 << 30, ge=1 << 20)
    """Disk that records on their way may take, `"1GiB"`: of each replica, and of the gateway."""
    capture_when_full: WhenFull = WhenFull.DROP_NEW
    """Beyond that: `drop_new` or `drop_old` records, counted, or `refuse` requests."""
    capture_durable: bool = False
    """A record survives a power cut before its answer leaves, which then waits for the disk; else
    it survives whatever process is killed."""
    capture_drop: tuple[FieldPath, ...] = Field((), max_length=20)
    """Fields of JSON bodies that are left out of records, at any depth: `name`, or `customer.name`.
    What cannot be read by name is then not recorded."""
    capture_hash: tuple[FieldPath, ...] = Field((), max_length=20)
    """Fields of which only a keyed hash is recorded, the same for the same value."""
    capture_encrypt: tuple[FieldPath, ...] = Field((), max_length=20)
    """Fields that are recorded encrypted, and that the owner alone can read, with `decrypt` in SQL.
    The gateway then records the requests."""
    alerts: tuple[AlertRule, ...] = Field((), max_length=20)
    """When somebody is to be told: `error_rate>5%`, `p99>500ms over 15m`, `silence>10m`,
    `capture_drops>0`, `drift`, `accuracy<0.9`. Each looks at five minutes, or at a day, unless it
    says otherwise."""
    judged: bool = True
    """After an update what is new is compared with what served before, for a minute and more, and
    taken back when it fails more, is slower by far, or answers in another shape. False: what gets
    ready stays."""

    @field_validator("alerts")
    @classmethod
    def _each_once(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(rules))

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.max_replicas is None and self.replicas == 0:
            raise ValueError("0 `replicas` need `max_replicas`: how many there may be under load")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError("`max_replicas` must not be less than `replicas`")
        return self

    def for_replica(self) -> ReplicaSettings:
        """The part whose change replaces replicas."""
        return ReplicaSettings(**self.model_dump(include=set(ReplicaSettings.model_fields)))


def setting_text(name: str, value: JsonValue) -> str:
    """A setting as people read it, with its unit; empty where there is none.

    Args:
        name: Name of the field.
        value: As in JSON.
    """
    if value is None:
        return ""
    match name, value:
        case (("memory" | "capture_space"), int()):
            return size_text(value)
        case _, bool():
            return "yes" if value else "no"
        case "capture", int():
            return f"{value} %" if value else "off"
        case (("scoring_timeout" | "startup_timeout" | "idle_time" | "max_queue_wait"), float()):
            return f"{value:g} s"
        case _, list():
            return ", ".join(map(str, value))
        case _, dict():
            return ", ".join(f"{key}={text}" for key, text in value.items())
        case _, float():
            return f"{value:g}"
    return str(value)


class Deployment(Value):
    """One image of a service on one target, with a traffic weight."""

    id: UUID
    image: str
    """`name:version`."""
    digest: Digest
    settings: ReplicaSettings
    weight: int
    """Share of the traffic, in percent; 0 for one that is on its way out."""
    generation: int
    """The service's generation that asked for it."""
    created_at: datetime


class ReplicaState(StrEnum):
    """How a replica is doing, as its supervisor saw it."""

    STARTING = "Starting"
    READY = "Ready"
    DRAINING = "Draining"
    FAILED = "Failed"


class ReplicaStatus(Value):
    """One running copy, as observed."""

    id: str
    deployment: UUID
    image: str
    state: ReplicaState
    restarts: int = 0
    memory: int = 0
    """Bytes, resident, of all its processes."""
    started_at: datetime | None = None
    cause: Cause | None = None


class Comparison(Value):
    """What the answers to the copies of a shadow were like, beside those to the originals."""

    equal: int = 0
    different: int = 0
    failed: int = 0
    """Those with a status of 5xx, and those that never came."""
    left_out: int = 0
    """Copies that were not made, because the candidate was busy."""

    def __str__(self) -> str:
        return (
            f"{self.equal} equal, {self.different} different, {self.failed} failed, "
            f"{self.left_out} left out"
        )


class ServiceStatus(Value):
    """What was last observed."""

    state: ServiceState
    generation: int = 0
    """Newest generation that the host has fully reached."""
    replicas: tuple[ReplicaStatus, ...] = ()
    comparison: Comparison | None = None
    """What the answers of a candidate that is a shadow are like, since it is; null: none is."""
    asleep: bool = False
    """It is as it should be, with no replica: the next request starts one."""
    cause: Cause | None = None
    observed_at: datetime | None = None


class Service(Value):
    """A stable name and address for scoring."""

    id: UUID
    workspace: str
    name: str
    target: str
    image: str
    """`name:version` of the image that is wanted: a candidate's, while one is tried; where several
    share the traffic, that of the largest share."""
    models: tuple[str, ...]
    """References of the models inside that image."""
    settings: ServiceSettings
    generation: int
    """Counts every accepted change."""
    deployments: tuple[Deployment, ...]
    rollout: Rollout | None = None
    """The candidate that is tried beside what serves; null when there is none."""
    status: ServiceStatus
    scoring_uri: str | None = None
    """Where to POST; null until the host has a gateway."""
    swagger_uri: str | None = None
    description: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    created_at: datetime
    updated_at: datetime
    created_by: str


class ServiceKeys(Value):
    """The two keys of a service. Treat them as passwords."""

    primary: str
    secondary: str
