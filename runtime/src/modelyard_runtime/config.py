"""What a replica is told at its start: `replica.json`, written by whoever starts it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta

from modelyard_runtime.http.messages import Limits

FIGURES = "figures"
"""The file beside the status file that `slots.read_slots` reads."""

Count = Annotated[int, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0)]
Descriptor = Annotated[int, Meta(ge=0)]


class InvalidConfig(Exception):
    """The configuration file cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the image."""

    name: str
    version: str
    path: str
    format: str | None = None
    """What its files are, such as `joblib` or `onnx`; None: not recognised."""
    framework: str | None = None
    """What it was made with, such as `scikit-learn`; None: not recognised."""
    optimized: bool = False
    """Its files are a faster form of it, which a build made."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that callers may have."""

    id: str
    hash: str
    """`modelyard_runtime.auth.ServiceKey.hash`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """How requests are scored together, where that is safe."""

    max_rows: Count = 1024
    """Rows of one call. A single request may bring more."""
    max_wait: Annotated[float, Meta(ge=0)] = 0.0
    """Seconds that a request may wait for others although nothing is being scored."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files, read again when they change. It holds for TCP; Unix sockets have none."""

    cert: str
    """The certificate and those between it and the root."""
    key: str
    client_ca: str | None = None
    """Clients must have a certificate of this authority; None: they need none."""
    crl: str | None = None
    """Certificates that the authority has revoked."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a replica is told. Times in seconds, sizes in bytes."""

    workers: Count
    code: str
    """Folder of the scoring script and the files beside it; becomes the working directory."""
    script: str | None
    """Path of the scoring script below `code`; None: the model is served without one."""
    models_root: str
    models: tuple[Model, ...]
    service: str
    scoring_timeout: Seconds
    """For one request, its wait for a busy worker included, or for the next part of an answer that
    is sent in parts; then 504."""
    max_body: Count
    """Longest body in bytes, after decompression; then 413."""
    drain_timeout: Seconds
    """After SIGTERM, to finish what is in flight."""
    fd: Descriptor | None = None
    """An inherited, already listening stream socket. Without one there is `listen`."""
    fds: tuple[Descriptor, ...] = ()
    """More inherited listening sockets, served like `fd`."""
    listen: tuple[str, ...] = ()
    """Addresses that the replica binds itself: `unix:/path`, `host:port`, or `*:port` for every
    interface."""
    grpc_listen: str | None = None
    """Like `listen`, for gRPC: TCP only."""
    network: bool = True
    """Scripts may reach other hosts. False only says that they cannot, so that causes name it."""
    status: str | None = None
    """Path of the status file; None: nobody reads one."""
    capture: str | None = None
    """Folder in which requests are recorded that a gateway wants recorded; None: they are not. Only
    for a replica that nobody but a gateway can reach, whose word is taken."""
    grpc_fd: Descriptor | None = None
    """An inherited TCP socket for gRPC, bound with `SO_REUSEPORT` and not listening: it holds the
    address, on which every worker listens for itself."""
    keys: tuple[Key, ...] = ()
    """Every scoring request needs one of them; none: whoever can connect may score. A gateway has
    checked keys already."""
    tls: Tls | None = None
    limits: dict[str, float] = field(default_factory=dict)
    """Fields of `messages.Limits`, but `body_bytes`, which is `max_body`. What is not given is that
    class's default, or, on a Unix socket, `GATEWAY_LIMITS`."""
    batch: Batch = field(default_factory=Batch)
    max_in_flight: Count = 1000
    """Requests that one worker takes, waiting ones included; more are answered 503."""
    max_queue: Count = 1000
    """Requests of one worker that wait for their turn; more are answered 503."""
    max_queue_wait: Seconds | None = None
    """What a request may wait for its turn; then 503. None: until `scoring_timeout`."""
    sample: Any = None
    """A body that the service scores, if one is known."""

    @property
    def model_dir(self) -> str:
        """What `AZUREML_MODEL_DIR` says: the folder of the only model, or the one of all."""
        if len(self.models) == 1:
            model = self.models[0]
            return os.path.join(self.models_root, model.name, model.version)
        return self.models_root

    @property
    def figures(self) -> str | None:
        """Path of the file that counts and times are kept in: beside the status file."""
        return os.path.join(os.path.dirname(self.status), FIGURES) if self.status else None

    @property
    def sockets(self) -> tuple[int, ...]:
        """Those that HTTP is served on."""
        return self.fds if self.fd is None else (self.fd, *self.fds)

    @property
    def inherited(self) -> tuple[int, ...]:
        """All the sockets."""
        grpc = () if self.grpc_fd is None else (self.grpc_fd,)
        return (*self.sockets, *grpc)

    def http_limits(self, *, strangers: bool) -> Limits:
        """What the server takes from a client: `strangers`, or the gateway of this host."""
        values = {**({} if strangers else GATEWAY_LIMITS), **self.limits}
        whole = {name: int(value) if name in _WHOLE else value for name, value in values.items()}
        return Limits(**whole, body_bytes=self.max_body)  # type: ignore[arg-type]


GATEWAY_LIMITS: dict[str, float] = {
    "header_time": 60.0,
    "body_time": 300.0,
    "stall_time": 300.0,
    "idle_time": 3600.0,
    "connections": 10_000,
}
"""A gateway keeps its connections, and has been strict with its own clients already."""
_LIMITS = {limit.name: limit.type for limit in fields(Limits) if limit.name != "body_bytes"}
_WHOLE = {name for name, kind in _LIMITS.items() if kind == "int"}


def read_config(path: str) -> Config:
    """Read and check a configuration file.

    Raises:
        InvalidConfig: It cannot be read, is not JSON, lacks a key or has an impossible value.
    """
    try:
        with open(path, "rb") as file:
            return parse_config(orjson.loads(file.read()))
    except OSError as error:
        raise InvalidConfig(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidConfig(f"{path} is not a configuration: {error}") from error


def parse_config(values: Any) -> Config:
    """Check a configuration. Keys that are not known are for newer runtimes, and ignored.

    Raises:
        ValueError: It lacks a key or has an impossible value; the message says where.
    """
    config = msgspec.convert(_with_text_versions(values), Config)
    if config.fd is None and not config.listen:
        raise ValueError("it has neither `fd` nor `listen`")
    if config.grpc_fd is not None and config.grpc_listen is not None:
        raise ValueError("it has both `grpc_fd` and `grpc_listen`")
    for name, value in config.limits.items():
        if name not in _LIMITS:
            raise ValueError(f"there is no limit `{name}`")
        if value <= 0 or (name in _WHOLE and value != int(value)):
            kind = "whole number" if name in _WHOLE else "number"
            raise ValueError(f"the limit `{name}` must be a positive {kind}")
    return config


def _with_text_versions(values: Any) -> Any:
    """Versions of models may be written as numbers."""
    match values:
        case {"models": [*models]}:
            return {**values, "models": [_with_text_version(model) for model in models]}
    return values


def _with_text_version(model: Any) -> Any:
    match model:
        case {"version": int(number)}:
            return {**model, "version": str(number)}
    return model
