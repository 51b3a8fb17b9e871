"""What can go wrong with a container engine, each with the code of its cause.

The codes are spelled as in `modelyard.domain.cause`, which one process per replica cannot afford
to import.
"""

from __future__ import annotations

from typing import ClassVar

from modelyard.errors import InvalidRequest, ModelyardError, Unavailable

START_ONE = (
    "start Docker, or podman's service (`systemctl enable --now podman.socket`, or "
    "`podman system service --time=0`). A socket elsewhere is named in MODELYARD_ENGINE, which a "
    "server reads when it starts: set it after `modelyard server stop`"
)
"""What to do about there being none."""


class EngineProblem(ModelyardError):
    """The engine did not do what it was asked."""

    cause: ClassVar[str] = "engine_failed"


class NoEngine(EngineProblem, Unavailable):
    """No engine answers."""

    cause = "no_engine"


class UnusableAddress(EngineProblem, InvalidRequest):
    """Where the engine is said to be, by a setting or `DOCKER_HOST`, none can be reached."""

    cause = "no_engine"


class EngineForbidden(EngineProblem):
    """There is an engine, and this user may not talk to it."""

    cause = "engine_forbidden"


class NotAnEngine(EngineProblem):
    """Something answers, and not as an engine does."""


class EngineRefused(EngineProblem):
    """The engine answered with an error; `status` is its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, hint="The engine's own log may say more.")
        self.status = status


class NoSuchObject(EngineRefused):
    """The engine has no container or image of this name."""
