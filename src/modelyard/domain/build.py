"""How an image is built, besides what goes into it."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from modelyard.domain.values import Spec

ImagePlatform = Annotated[str, StringConstraints(pattern=r"^(linux|darwin)/(amd64|arm64)$")]


class BuildOptions(Spec):
    """Ways to build an image."""

    platform: ImagePlatform | None = None
    """What the image is for, such as `linux/arm64`; unset takes the server's own."""
    slim: bool = False
    """Leave tests, headers, stubs and documentation of packages out of the environment."""
    allow_sources: bool = False
    """Build packages without wheels from their sources, which runs code of theirs and may give
    other bytes every time; only for the server's own platform."""
    optimize: bool = False
    """Serve a faster form of the one model, if there is one that answers the same."""
