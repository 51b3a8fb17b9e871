"""Settings of a server and of what it starts, from environment variables `MODELYARD_…`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SandboxMode(StrEnum):
    """What is done about a host without a sandbox."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


class Settings(BaseSettings):
    """Every setting; its environment variable is `MODELYARD_` and the name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="MODELYARD_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    home: Path = Field(default_factory=lambda: Path.home() / ".modelyard")
    """Folder that holds everything: database, blobs, logs, the agent's files, the token."""
    url: str | None = None
    """Address of a server elsewhere, for the client; unset means the local one, started on need."""
    token: str | None = None
    """Token for `url`; the local server's is found in `home` by itself."""
    server_host: str = "127.0.0.1"
    """Address the server listens on."""
    server_port: int = Field(7878, ge=0, le=65535)
    """Port the server listens on; 0 takes a free one, which the local client finds in `home`."""
    server_certificate: Literal["own"] | Path | None = None
    """PEM file with the server's certificate and those that lead to its authority; with it the
    server speaks TLS and nothing else. Read again when it changes. `own`: one of the workspace's
    own authority."""
    server_key: Path | None = None
    """PEM file with the certificate's private key, without a passphrase."""
    gateway_host: str = "127.0.0.1"
    """Address the gateway of the local agent listens on."""
    gateway_port: int = Field(7880, ge=0, le=65535)
    """Port the gateway of the local agent listens on; 0 takes a free one and keeps it."""
    gateway_processes: int = Field(2, ge=1, le=8)
    """How many processes of the gateway share its port. Two, so that the end of one ends no more
    than the connections that it has; more only where the gateway needs more than one CPU."""
    gateway_name: str = Field("", pattern=r"[A-Za-z0-9.-]*")
    """Host name by which callers reach the gateway, in the addresses of services; unset takes the
    address it listens on. With TLS it is a name of the certificate; one of the workspace's own
    authority is for it also where the server has it."""
    gateway_certificate: Literal["own"] | Path | None = None
    """PEM file with the gateway's certificate and those that lead to its authority; with it the
    gateway speaks TLS and nothing else. Read again when it changes. `own`: one of the workspace's
    own authority, made and renewed by the server."""
    gateway_key: Path | None = None
    """PEM file with the certificate's private key, without a passphrase."""
    gateway_client_authorities: Path | None = None
    """PEM file with the authorities that issue certificates to callers of services with `auth`
    `cert`; unset is the workspace's own. Read again when it changes."""
    gateway_revoked: Path | None = None
    """PEM file with lists of the certificates that these authorities have revoked, one of each;
    unset means that there are none. Read again when it changes."""
    base: str = "host"
    """What images stand on in a container, unless a build names another base: `host` is a minimal
    one from this machine's Python, on Linux; `docker.io/library/python:3.11-slim` and the like are
    fetched from an image registry, best with a digest; the path of an OCI layout, a folder or a
    tar, is what lies there; `none` builds images that run only as processes."""
    engine: str | None = None
    """Address of the container engine for the target `container`, such as
    `unix:///run/podman/podman.sock`; unset looks at `DOCKER_HOST` and the usual sockets."""
    wheels: Path | None = None
    """Folder of wheels to build environments from instead of the package index (no network)."""
    capture_store: str | None = None
    """Object store for captured records, `s3://bucket/prefix`, `az://container/prefix` or
    `gs://bucket/prefix`; unset keeps them in `home`. Credentials go into the environment variables
    of the cloud, such as AWS_ACCESS_KEY_ID, and AWS_ENDPOINT_URL names another server of its kind.
    """
    capture_copies: int = Field(10 << 30, ge=0)
    """Bytes of captured records in a store of which the server keeps copies; those that were read
    within the hour are kept, too."""
    capture_days: float = Field(0, ge=0)
    """Days for which captured records are kept; 0: for ever."""
    capture_most: int = Field(0, ge=0)
    """Bytes of captured records that are kept; beyond them the oldest files go; 0: no bound."""
    alert_allow_private: str = ""
    """Hosts that webhooks of alerts may go to although their addresses are private or they speak no
    TLS, with commas between them; `*` is all of them."""
    alert_smtp: str | None = None
    """Server that takes the e-mail of alerts: `smtps://user@mail.example.org`, or `smtp://…`, which
    has to offer STARTTLS unless it is this machine."""
    alert_smtp_password: Path | None = None
    """File with the password of that user."""
    alert_smtp_from: str | None = None
    """Address that the e-mail of alerts is from."""
    alert_command: tuple[str, ...] | None = Field(None, min_length=1)
    """Program that is started for each message of an alert and reads it as JSON from its standard
    input: a JSON list of the program and its arguments."""
    max_upload: int = Field(64 << 30, gt=0)
    """Largest single file accepted, in bytes; 64 GiB unless told otherwise."""
    sandbox: SandboxMode = SandboxMode.AUTO
    """Where scripts and models run: `auto` takes the best sandbox this host has and starts them
    without one where there is none, `required` starts nothing then, `off` never uses one."""
    check_timeout: float = Field(300.0, gt=0)
    """Longest time in seconds that the check start of an image may take."""
    check_memory: int = Field(4 << 30, gt=0)
    """Limit in bytes on the memory of an image during its check start."""
