"""Batches of numpy arrays. Imported only where a script uses some."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard_runtime.signatures.batches import RowBatching


class ArrayBatching(RowBatching):
    """Rows along the first dimension; type and shape of a row must be the same."""

    def _count(self, value: Any) -> int:
        return len(value) if value.ndim else 0

    def _outline(self, value: Any) -> Any:
        return value.dtype, value.shape[1:]

    def _concatenated(self, values: list[Any]) -> Any:
        return np.concatenate(values)
