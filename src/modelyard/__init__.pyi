from modelyard.client import Action, Client, Deployed, Step, connect
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.change import ServiceChange
from modelyard.domain.clients import ClientCertificate
from modelyard.domain.image import Image, ImageState
from modelyard.domain.model import Model, ModelFormat
from modelyard.domain.operation import LogLine, Operation, OperationState
from modelyard.domain.profile import Profile
from modelyard.domain.quality import MeasuredQuality, Quality
from modelyard.domain.replay import Replay
from modelyard.domain.reproduction import Reproduction
from modelyard.domain.search import Page
from modelyard.domain.service import Service, ServiceKeys, ServiceSettings, ServiceState
from modelyard.domain.service_file import ModelSource, ServiceFile
from modelyard.domain.telemetry import Load, Point, ServiceLoad, ServiceMetrics
from modelyard.domain.tokens import ServiceToken
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

__version__: str

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
