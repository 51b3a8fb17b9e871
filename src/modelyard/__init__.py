"""Modelyard takes a trained model from a file to a monitored web service, and keeps it there."""

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
    ScoringFailed,
    ServerUnreachable,
    Unauthenticated,
    Unavailable,
)

__version__ = "0.1.0"

__all__ = [
    "BuildFailed",
    "Conflict",
    "DeployFailed",
    "InUse",
    "InsufficientStorage",
    "IntegrityError",
    "InvalidRequest",
    "InvalidScript",
    "ModelyardError",
    "NotFound",
    "OperationFailed",
    "OperationTimedOut",
    "PermissionDenied",
    "ScoringFailed",
    "ServerUnreachable",
    "Unauthenticated",
    "Unavailable",
]
