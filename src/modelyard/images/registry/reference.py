"""Names of images in registries, as Docker made them usual: `[host[:port]/]path[:tag][@digest]`."""

from __future__ import annotations

import re
from typing import NamedTuple

from modelyard.domain.hosts import is_loopback
from modelyard.domain.values import DIGEST_PATTERN
from modelyard.errors import InvalidRequest

_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LONGEST = 255

DOCKER_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"


class ImageName(NamedTuple):
    """One image in one registry."""

    host: str
    """Its registry, such as `registry.example.org:5000`."""
    path: str
    """Its repository there, such as `team/digits`."""
    tag: str | None
    digest: str | None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.path}{tag}{digest}"

    @property
    def selector(self) -> str:
        """What its manifest is asked for by: the digest, or else the tag."""
        return self.digest or self.tag or "latest"

    @property
    def url(self) -> str:
        """Address of the registry: `http` on this machine only."""
        scheme = "http" if self.is_local else "https"
        return f"{scheme}://{_HUB_HOST if self.host == DOCKER_HUB else self.host}"

    @property
    def is_local(self) -> bool:
        """Whether the registry is on this machine."""
        name = self.host.rpartition(":")[0] if self.host[-1:].isdigit() else self.host
        return is_loopback(name or self.host)


def parse_name(text: str) -> ImageName:
    """Read the name of an image in a registry; without a host it is one of Docker Hub.

    Raises:
        InvalidRequest: It is none.
    """
    rest, at, digest = text.partition("@")
    host, slash, path = rest.partition("/")
    if not slash or not (set(".:[") & set(host) or host == "localhost" or host != host.lower()):
        host, path = DOCKER_HUB, rest
    path, colon, tag = path.partition(":")
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if (
        not _HOST.fullmatch(host)
        or not _PATH.fullmatch(path)
        or len(host) + len(path) > _LONGEST
        or (colon and not _TAG.fullmatch(tag))
        or (at and not re.fullmatch(DIGEST_PATTERN.rstrip("$"), digest))
    ):
        raise InvalidRequest(
            f"{text[:200]!r} is not the name of an image in a registry",
            hint="write `registry.example.org/team/digits:1`, or `…/digits@sha256:…` with 64 "
            "digits: lower case, and no `https://`",
        )
    return ImageName(host, path, tag or None, digest or None)
