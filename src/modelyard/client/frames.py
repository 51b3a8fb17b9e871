"""An answer about captured records as a table of the caller's own library."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from modelyard.capture.reading import literal
from modelyard.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Frame:
    """An answer with its types, as Parquet; `image`, `model` and `version` of its rows say what has
    answered each, if they were asked for.

    pandas, polars or Arrow are the caller's: none of them comes with Modelyard.
    """

    parquet: bytes
    """The file."""

    def __repr__(self) -> str:
        return f"Frame({len(self.parquet):,} bytes of Parquet: to_pandas, to_polars, to_arrow)"

    def to_pandas(self) -> Any:
        """As a `pandas.DataFrame`. It needs pandas, and nothing else.

        Raises:
            InvalidRequest: pandas is not installed.
        """
        _library("pandas")
        duckdb = import_module("duckdb")  # pandas alone reads no Parquet
        with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
            path = Path(folder) / "answer.parquet"
            path.write_bytes(self.parquet)
            return connection.read_parquet(literal(path)).df()

    def to_polars(self) -> Any:
        """As a `polars.DataFrame`.

        Raises:
            InvalidRequest: polars is not installed.
        """
        return _library("polars").read_parquet(io.BytesIO(self.parquet))

    def to_arrow(self) -> Any:
        """As a `pyarrow.Table`.

        Raises:
            InvalidRequest: pyarrow is not installed.
        """
        return _library("pyarrow.parquet").read_table(io.BytesIO(self.parquet))


def _library(name: str) -> Any:
    package = name.partition(".")[0]
    try:
        return import_module(name)
    except ImportError as error:
        raise InvalidRequest(
            f"`{package}` is not installed here: {error}", hint=f"`pip install {package}`"
        ) from error
