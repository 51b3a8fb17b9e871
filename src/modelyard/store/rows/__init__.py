"""The tables, by noun. Rows never leave `store`: repositories take and return domain types.

`seq` counts rows in the order of their creation, which is the order of listings; clocks may step.
"""

from modelyard.store.rows.agents import AgentRow, LogPieceRow, LogStreamRow
from modelyard.store.rows.alerts import AlertChannelRow, AlertMessageRow, AlertRow
from modelyard.store.rows.blobs import BlobRow, BlobState, CompressedLayerRow
from modelyard.store.rows.captures import (
    CaptureForgottenFieldRow,
    CaptureSegmentRow,
    CaptureSketchRow,
    CaptureStreamRow,
    CaptureTallyRow,
    DriftBaselineRow,
)
from modelyard.store.rows.images import (
    ImageBaseRow,
    ImageFileRow,
    ImageLabelRow,
    ImageLayerRow,
    ImageModelRow,
    ImagePackageRow,
    ImageRow,
    ImageSbomRow,
    LockRow,
)
from modelyard.store.rows.models import ModelFileRow, ModelLabelRow, ModelRow
from modelyard.store.rows.operations import IdempotencyRow, OperationLineRow, OperationRow
from modelyard.store.rows.services import (
    DeploymentRow,
    ServiceChangeRow,
    ServiceKeyRow,
    ServiceLabelRow,
    ServiceMinuteRow,
    ServiceRow,
)
from modelyard.store.rows.shared import LabelKind
from modelyard.store.rows.workspaces import CounterRow, PrincipalRow, Versioned, WorkspaceRow

__all__ = [
    "AgentRow",
    "AlertChannelRow",
    "AlertMessageRow",
    "AlertRow",
    "BlobRow",
    "BlobState",
    "CaptureForgottenFieldRow",
    "CaptureSegmentRow",
    "CaptureSketchRow",
    "CaptureStreamRow",
    "CaptureTallyRow",
    "CompressedLayerRow",
    "CounterRow",
    "DeploymentRow",
    "DriftBaselineRow",
    "IdempotencyRow",
    "ImageBaseRow",
    "ImageFileRow",
    "ImageLabelRow",
    "ImageLayerRow",
    "ImageModelRow",
    "ImagePackageRow",
    "ImageRow",
    "ImageSbomRow",
    "LabelKind",
    "LockRow",
    "LogPieceRow",
    "LogStreamRow",
    "ModelFileRow",
    "ModelLabelRow",
    "ModelRow",
    "OperationLineRow",
    "OperationRow",
    "PrincipalRow",
    "ServiceChangeRow",
    "ServiceKeyRow",
    "ServiceLabelRow",
    "ServiceMinuteRow",
    "ServiceRow",
    "Versioned",
    "WorkspaceRow",
]
