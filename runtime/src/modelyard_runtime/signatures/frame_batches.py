"""Batches of pandas data frames. Imported only where a script uses some."""

from __future__ import annotations

from typing import Any

import pandas as pd

from modelyard_runtime.signatures.batches import RowBatching


class FrameBatching(RowBatching):
    """Rows of frames whose columns and types are the same."""

    def _count(self, value: Any) -> int:
        return len(value)

    def _outline(self, value: Any) -> Any:
        return tuple(value.columns), tuple(value.dtypes)

    def _concatenated(self, values: list[Any]) -> Any:
        return pd.concat(values, ignore_index=True)
