"""Credentials for image registries, as `docker login` and `podman login` have left them.

They are those of the user whom this process runs as, read when needed and never kept or shown.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modelyard.errors import InvalidRequest
from modelyard.images.registry.reference import DOCKER_HUB, ImageName

_HELPER = re.compile(r"[A-Za-z0-9._-]+")
_HELPER_TIME = 30.0
_HUB_KEY = "https://index.docker.io/v1/"
_IDENTITY = "<token>"
"""The user name by which a helper says that the secret is a token to get tokens with."""


class Credentials(NamedTuple):
    """What tells a registry who asks."""

    user: str
    secret: str
    is_identity: bool = False
    """The secret is a token to get tokens with."""

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, secret=...)"

    @property
    def basic(self) -> str:
        """Value of an `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


def find_credentials(
    image: ImageName, environment: Mapping[str, str] = os.environ
) -> Credentials | None:
    """What is known for the registry of an image; None: it is asked as anybody.

    Raises:
        InvalidRequest: A file with credentials cannot be used.
    """
    for path in _files(environment):
        if (document := _read(path)) is not None:
            for key in _keys(image):
                if (found := _entry(document, key, path, environment)) is not None:
                    return found
    return None


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """In the order in which they count: what a variable names, Docker's, podman's."""
    home = Path(environment.get("HOME", "/"))
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"


def _keys(image: ImageName) -> Iterator[str]:
    """What an image's registry may be entered under, the closest first."""
    parts = image.path.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join([image.host, *parts[:count]])
    yield image.host
    yield f"https://{image.host}"
    if image.host == DOCKER_HUB:
        yield _HUB_KEY


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unusable(path) from error
    if not isinstance(document, dict):
        raise _unusable(path)
    return document


def _entry(
    document: dict[str, Any], key: str, path: Path, environment: Mapping[str, str]
) -> Credentials | None:
    helpers, entries = document.get("credHelpers") or {}, document.get("auths") or {}
    if not isinstance(helpers, dict) or not isinstance(entries, dict):
        raise _unusable(path)
    if helper := helpers.get(key) or (document.get("credsStore") if key in entries else None):
        return _ask(str(helper), key, environment)
    entry = entries.get(key)
    return _decoded(entry, path) if isinstance(entry, dict) else None


def _decoded(entry: dict[str, Any], path: Path) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(_IDENTITY, str(token), is_identity=True)
    if not entry.get("auth"):
        return None
    try:
        user, colon, secret = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (TypeError, ValueError) as error:
        raise _unusable(path) from error
    if not colon:
        raise _unusable(path)
    return Credentials(user, secret.rstrip("\0"))


def _ask(helper: str, key: str, environment: Mapping[str, str]) -> Credentials | None:
    """What a credential helper knows. Nothing of what it says is repeated in a message."""
    if not _HELPER.fullmatch(helper):
        raise InvalidRequest(f"{helper[:100]!r} is not the name of a credential helper")
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=key.encode(),
            capture_output=True,
            timeout=_HELPER_TIME,
            env=dict(environment),
            check=False,
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise InvalidRequest(
            f"the credential helper `docker-credential-{helper}` cannot be used",
            hint=f"run `docker login {key}` again, or take the helper out of the configuration",
        ) from error
    if not isinstance(answer, dict):
        return None
    user, secret = str(answer.get("Username", "")), str(answer.get("Secret", ""))
    return Credentials(user, secret, is_identity=user == _IDENTITY) if secret else None


def _unusable(path: Path) -> InvalidRequest:
    return InvalidRequest(
        f"the credentials in {path} cannot be read", hint="log in again with docker or podman"
    )
