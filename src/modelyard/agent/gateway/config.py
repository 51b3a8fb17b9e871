"""What a gateway serves: one versioned document, written by the agent and swapped atomically.

The document carries a checksum, so a damaged one is recognised and never half obeyed.
"""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelyard.errors import (
    InsufficientStorage,
    IntegrityError,
    InvalidRequest,
    Unavailable,
)
from modelyard.files import replace_file

FORMAT = 1
"""Version of the document's shape; another one is refused."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that opens one service, as far as a gateway may know it."""

    id: str
    """The public part."""
    slot: str
    """`primary` or `secondary`."""
    hash: str
    """`modelyard.domain.keys.ServiceKey.hash`."""
    token_key: str = ""
    """`modelyard.domain.tokens.public_key`: recognises tokens that are signed under this key."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One ready replica. Its `socket` is what identifies it when the configuration changes."""

    socket: str
    """Path of the Unix socket it listens on, or `host:port`."""
    deployment: str
    """Id of its deployment; callers see it as `x-modelyard-deployment`."""
    weight: int
    """Share of its deployment, in relation to those of the others; 0: gets only requests that name
    it."""
    replica: str
    """Id of the replica, for messages."""

    @property
    def is_unix(self) -> bool:
        """Whether it listens on a Unix socket."""
        return self.socket.startswith("/")


@dataclass(frozen=True, slots=True)
class DeploymentRoute:
    """A deployment that has been given a share, whether or not one of its replicas is ready."""

    id: str
    image: str
    """`name:version`, by which callers may name it."""
    weight: int
    """As its replicas have it."""


@dataclass(frozen=True, slots=True)
class CaptureRoute:
    """How requests to a service are recorded, and what turned out to be true of them."""

    service: str
    """Id of the service: the name of its folder."""
    percent: int
    """How many of a hundred requests, chosen at random; 0: none is recorded."""
    space: int
    """Bytes of disk for what is on its way, for each that writes."""
    when_full: str
    """`refuse`, `drop_new` or `drop_old`."""
    durable: bool = False
    """Records survive a power cut before their answer leaves."""
    drop: tuple[str, ...] = ()
    """Fields that are left out of them."""
    hashed: tuple[str, ...] = ()
    """Fields of which only hashes are in them."""
    key: str = ""
    """Of the hashes, hexadecimal."""
    encrypted: tuple[str, ...] = ()
    """Fields of which only encrypted values are in them."""
    public: str = ""
    """The public key that they are encrypted for, hexadecimal."""


@dataclass(frozen=True, slots=True)
class ServiceRoute:
    """One service and the replicas that answer for it."""

    name: str
    auth: str
    """`none` lets everybody in; `token` those with a token; `cert` those with a certificate;
    anything else those with a key."""
    keys: tuple[Key, ...]
    scoring_timeout: float
    """Seconds one request may take at a replica."""
    max_concurrent_requests: int
    """Requests in flight at one replica; at least 1."""
    max_queue_wait: float
    """Seconds a request may wait for a replica to be free; 0 refuses at once."""
    upstreams: tuple[Upstream, ...]
    unavailable: str = ""
    """Why no replica is ready: what callers read when `upstreams` is empty."""
    cors_origins: tuple[str, ...] = ()
    """Web pages whose scripts may read its answers, such as `https://app.example`; `*` is any."""
    clients: tuple[str, ...] = ()
    """Names in certificates of those who may use it, as `modelyard.domain.clients.ClientName`."""
    elastic: bool = False
    """Replicas come and go with the load, so the gateway tells it."""
    waking_time: float = 0.0
    """Seconds a request may wait for the first replica to start; 0 refuses at once."""
    max_queued_requests: int = 1000
    """Requests that may wait for a replica to be free; further ones are refused at once."""
    deployments: tuple[DeploymentRoute, ...] = ()
    """Those behind the service, oldest first."""
    candidate: str = ""
    """Id of the one that is tried beside the others; empty: none is."""
    shadow: int = 0
    """Percent of the requests of which the candidate gets a copy that nobody waits for."""
    judged: bool = False
    """Deployments are being compared, so the shapes of their answers are looked at."""
    sticky: str = ""
    """Header, in lower case, by whose value callers stay with a deployment; empty: none."""
    capture: CaptureRoute | None = None
    """None: nothing is recorded, not even feedback."""

    def __post_init__(self) -> None:
        if self.max_concurrent_requests < 1 or self.scoring_timeout <= 0 or self.max_queue_wait < 0:
            raise InvalidRequest(f"the limits of service `{self.name}` in the gateway are not sane")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the PEM files are that a gateway speaks TLS with, and takes anew when they change."""

    chain: str
    """The gateway's certificate, followed by those that lead to its authority."""
    key: str
    """Its private key, without a passphrase."""


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """Where the PEM files are by which a gateway knows clients, taken anew when they change."""

    authorities: str
    """Certificates of the authorities that issue certificates to clients."""
    revoked: str = ""
    """Lists of certificates that these have revoked, one of each authority; empty: there are no
    lists."""


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Everything a gateway knows."""

    version: int
    """Grows with every change; the gateway reports the one it serves."""
    services: tuple[ServiceRoute, ...] = ()
    certificate: Certificate | None = None
    """None: it speaks plain HTTP."""
    figures: str = ""
    """Unix socket of the agent, which answers for `/metrics` of all services; empty: replicas do,
    each for itself."""
    clients: ClientFiles | None = None
    """None: it knows no clients, so that services with `auth` `cert` let nobody in."""

    @property
    def asked_clients(self) -> ClientFiles | None:
        """By what callers are asked for certificates; None when no service wants one."""
        wanted = any(service.auth == "cert" for service in self.services)
        return self.clients if wanted and self.certificate is not None else None


def write_config(path: Path, config: GatewayConfig) -> None:
    """Replace the document at `path` at once: a reader sees the old one or the new one, whole.

    Raises:
        InsufficientStorage: The disk is full; the old document is untouched.
        Unavailable: The folder cannot be written; the old document is untouched.
    """
    body = asdict(config)
    text = json.dumps({"format": FORMAT, "checksum": _checksum(body), "config": body})
    try:
        replace_file(path, text)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (InsufficientStorage if full else Unavailable)(
            f"the gateway's configuration `{path}` could not be written: {error.strerror}",
            hint="free some space" if full else "check that its folder exists and is writable",
        ) from error


def read_config(path: Path) -> GatewayConfig:
    """Read the document at `path`.

    Raises:
        IntegrityError: It is missing, damaged, or of another format.
    """
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']} instead of {FORMAT}")
        if document["checksum"] != _checksum(document["config"]):
            raise ValueError("the checksum differs")
        return _config(document["config"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, InvalidRequest) as error:
        raise IntegrityError(
            f"the gateway cannot use its configuration `{path}`: {error or type(error).__name__}",
            hint="the agent writes it again with its next change, or when it is restarted",
        ) from error


def _config(body: dict[str, Any]) -> GatewayConfig:
    services = tuple(_service(service) for service in body["services"])
    certificate, clients = body.get("certificate"), body.get("clients")
    return GatewayConfig(
        version=body["version"],
        services=services,
        certificate=Certificate(**certificate) if certificate else None,
        figures=body.get("figures", ""),
        clients=ClientFiles(**clients) if clients else None,
    )


def _service(body: dict[str, Any]) -> ServiceRoute:
    keys = tuple(Key(**key) for key in body["keys"])
    upstreams = tuple(Upstream(**upstream) for upstream in body["upstreams"])
    capture = body.get("capture")
    values = {
        **body,
        "keys": keys,
        "upstreams": upstreams,
        "cors_origins": tuple(body.get("cors_origins", ())),
        "clients": tuple(body.get("clients", ())),
        "deployments": tuple(DeploymentRoute(**d) for d in body.get("deployments", ())),
        "capture": _capture(capture) if capture else None,
    }
    return ServiceRoute(**values)


def _capture(body: dict[str, Any]) -> CaptureRoute:
    fields = {name: tuple(body.get(name, ())) for name in ("drop", "hashed", "encrypted")}
    return CaptureRoute(**{**body, **fields})


def _checksum(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
