"""Where container engines listen, and which of them answers here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from modelyard.agent.engine.problems import UnusableAddress
from modelyard.domain.hosts import is_loopback

_PORT = 2375  # of an engine without TLS


class Address(NamedTuple):
    """One place to find an engine at: the path of a Unix socket, or a port of this host."""

    socket: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.socket or f"tcp://{self.host}:{self.port}"


def parse_address(text: str, origin: str) -> Address:
    """Read `unix:///path`, a path, or `tcp://127.0.0.1:2375`.

    Args:
        text: What is written there.
        origin: Where it is written, for the message.

    Raises:
        UnusableAddress: It is something else, or an engine on another host.
    """
    if text.startswith("/"):
        return Address(socket=text)
    with suppress(ValueError):  # what is in brackets, or behind a colon, may be anything
        parts = urlsplit(text)
        if parts.scheme == "unix" and parts.path.startswith("/"):
            return Address(socket=parts.path)
        if parts.scheme in ("tcp", "http") and is_loopback(parts.hostname or ""):
            return Address(host=parts.hostname or "", port=parts.port or _PORT)
    raise UnusableAddress(
        f"{origin} names the container engine `{text[:200]}`, which is not one of this host",
        hint="name its Unix socket, such as unix:///run/podman/podman.sock",
    )


def candidates(named: str | None, environment: Mapping[str, str]) -> Iterator[Address]:
    """Where to look for an engine, first the place that was named, and else only the usual ones.

    Args:
        named: The setting `MODELYARD_ENGINE`.
        environment: Of this process; `DOCKER_HOST` and `XDG_RUNTIME_DIR` count.

    Raises:
        UnusableAddress: What was named is no address, or one on another host.
    """
    if named:
        yield parse_address(named, "MODELYARD_ENGINE")
        return
    if host := environment.get("DOCKER_HOST"):
        yield parse_address(host, "DOCKER_HOST")
        return
    yield Address(socket="/var/run/docker.sock")
    yield Address(socket="/run/podman/podman.sock")
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Address(socket=f"{runtime}/podman/podman.sock")
        yield Address(socket=f"{runtime}/docker.sock")
