"""The scoring runtime of Modelyard: the HTTP server inside every image."""

from modelyard_runtime.capture.collecting import collect
from modelyard_runtime.http.messages import HttpError
from modelyard_runtime.script import batchable

__all__ = ["HttpError", "batchable", "collect"]

__version__ = "0.1.0"
"""What a replica says of itself; that of the distribution."""
