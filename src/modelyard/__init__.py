"""Modelyard takes a trained model from a file to a monitored web service, and keeps it there.

The SDK is loaded when one of its names is first used, because the small programs of this package
that run beside every replica must start fast and stay small. Type checkers read `__init__.pyi`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from modelyard.errors import (
    BuildFailed,
    Conflict,
    DeployFailed,
    InsufficientStorage,
    IntegrityError,
    InUse,
    InvalidRequest,
    InvalidScript,
    ModelyardError,
    NotFound,
    OperationFailed,
    OperationTimedOut,
    PermissionDenied,
    ReplayFailed,
    ScoringFailed,
    ServerUnreachable,
    Unauthenticated,
    Unavailable,
)

__version__ = "0.1.0"

_HOMES = {
    "modelyard.client": ("Action", "Client", "Deployed", "Step", "connect"),
    "modelyard.domain.cause": ("Cause", "CauseCode"),
    "modelyard.domain.change": ("ServiceChange",),
    "modelyard.domain.clients": ("ClientCertificate",),
    "modelyard.domain.image": ("Image", "ImageState"),
    "modelyard.domain.model": ("Model", "ModelFormat"),
    "modelyard.domain.operation": ("LogLine", "Operation", "OperationState"),
    "modelyard.domain.profile": ("Profile",),
    "modelyard.domain.quality": ("MeasuredQuality", "Quality"),
    "modelyard.domain.replay": ("Replay",),
    "modelyard.domain.reproduction": ("Reproduction",),
    "modelyard.domain.search": ("Page",),
    "modelyard.domain.service": ("Service", "ServiceKeys", "ServiceSettings", "ServiceState"),
    "modelyard.domain.telemetry": ("Load", "Point", "ServiceLoad", "ServiceMetrics"),
    "modelyard.domain.tokens": ("ServiceToken",),
    "modelyard.domain.service_file": ("ModelSource", "ServiceFile"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Action",
    "BuildFailed",
    "Cause",
    "CauseCode",
    "Client",
    "ClientCertificate",
    "Conflict",
    "DeployFailed",
    "Deployed",
    "Image",
    "ImageState",
    "InUse",
    "InsufficientStorage",
    "IntegrityError",
    "InvalidRequest",
    "InvalidScript",
    "Load",
    "LogLine",
    "MeasuredQuality",
    "Model",
    "ModelFormat",
    "ModelSource",
    "ModelyardError",
    "NotFound",
    "Operation",
    "OperationFailed",
    "OperationState",
    "OperationTimedOut",
    "Page",
    "PermissionDenied",
    "Point",
    "Profile",
    "Quality",
    "Replay",
    "ReplayFailed",
    "Reproduction",
    "ScoringFailed",
    "ServerUnreachable",
    "Service",
    "ServiceChange",
    "ServiceFile",
    "ServiceKeys",
    "ServiceLoad",
    "ServiceMetrics",
    "ServiceSettings",
    "ServiceState",
    "ServiceToken",
    "Step",
    "Unauthenticated",
    "Unavailable",
    "connect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
