"""A model: registered, versioned files."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import JsonValue

from modelyard.domain.values import Digest, RelativePath, Value


class ModelFormat(StrEnum):
    """How the files are written; recognised from their first bytes, never by loading them."""

    PICKLE = "pickle"
    JOBLIB = "joblib"
    SKOPS = "skops"
    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch_export"
    XGBOOST = "xgboost"
    LIGHTGBM = "lightgbm"
    KERAS = "keras"
    MLFLOW = "mlflow"
    CUSTOM = "custom"


class ModelFile(Value):
    """One file of a model."""

    path: RelativePath
    digest: Digest
    size: int
    """Bytes."""


class Imports(Value):
    """What the pickles among a model's files would import: read from them, never loaded.

    A label, not a barrier: a pickle with harmless names may do harm.
    """

    names: tuple[str, ...]
    """`module.name`, sorted; `?` for a part that is only known when the pickle is loaded."""
    complete: bool
    """Every pickle was read to its end; else there may be more names."""


class Model(Value):
    """One registered version of a model."""

    id: UUID
    workspace: str
    name: str
    version: int
    format: ModelFormat
    framework: str | None = None
    """What trained it, such as `scikit-learn`; given, or guessed from the format."""
    framework_version: str | None = None
    description: str = ""
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    files: tuple[ModelFile, ...]
    imports: Imports | None = None
    """What loading its pickles would import; null when it has none."""
    sample_input: JsonValue = None
    """A request body that the model can score; the check of an image uses it."""
    created_at: datetime
    created_by: str

    @property
    def reference(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)
