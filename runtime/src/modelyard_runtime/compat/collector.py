"""`azureml.monitoring.ModelDataCollector`: stores where the service records, as `collect` does.

Elsewhere it does nothing, as the original did where data collection was not switched on. Debugging
is as it was: with `AML_MODEL_DC_DEBUG=true` every collected row is printed as CSV.
"""

from __future__ import annotations

import csv
import datetime
import io
import os
import sys
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from modelyard_runtime.capture.collecting import collect_rows, is_wanted, named, prediction_id

_DESIGNATIONS = ("inputs", "predictions", "labels", "signals", "general")
_NAMED = ("signals", "general")
"""Designations of which there may be several, each with a name."""
_NO_REQUEST = "00000000-0000-0000-0000-000000000000"
_MINUTES = {"hour": 60, "day": 24 * 60}
_UNSUPPORTED = (
    "collect: data must be a list, a numpy array, a pandas or Spark DataFrame, and not {}"
)


class ModelDataCollector:
    """Where a script hands over what it has scored.

    Args:
        model_name: Model that the data belongs to.
        designation: What the data is: `inputs`, `predictions`, `labels`, `signals` or `general`;
            `default` is `general`.
        feature_names: Names of the columns, where the data has none.
        workspace, webservice_name, model_version, collection_name: Where the data belongs.
        identifier: What `designation` was called in 2018; any text.
    """

    AML_DC_CORRELATION_HEADER = "$aml_dc_correlation_id"
    AML_DC_SCORING_TIMESTAMP_HEADER = "$aml_dc_scoring_timestamp"
    AML_DC_BOUNDARY_HEADER = "$aml_dc_boundary"
    AML_WORKSPACE_HEADER = "$aml_workspace"
    AML_SERVICE_NAME_HEADER = "$aml_service_name"
    AML_MODEL_NAME_HEADER = "$aml_model_name"
    AML_MODEL_VERSION_HEADER = "$aml_model_version"
    AML_REQUEST_ID_HEADER = "$aml_request_id"

    def __init__(
        self,
        model_name: str,
        designation: str = "default",
        feature_names: Sequence[str] | None = None,
        workspace: str = "default/default/default",
        webservice_name: str = "default",
        model_version: str | int = "default",
        collection_name: str = "default",
        *,
        identifier: str | None = None,
    ) -> None:
        self.model_name = model_name
        self.workspace = workspace.lower()
        self.service_name = _service(webservice_name)
        self.model_version = model_version
        self.filename = f"{collection_name}.csv"
        self._designation = "general" if designation == "default" else designation
        self._feature_names = list(feature_names or ())
        self._is_enabled = True
        self._prints = os.environ.get("AML_MODEL_DC_DEBUG", "").lower() == "true"
        if identifier is not None:
            self._designation = self._name = identifier
        elif self._designation not in _DESIGNATIONS:
            self._prints = self._is_enabled = False
            _say(f"ModelDataCollector: the designation must be one of {', '.join(_DESIGNATIONS)}")
            return
        self._name = self._designation
        if self._designation in _NAMED and collection_name != "default":
            self._name = collection_name
        _say(_DEBUGGING if self._prints else _STORING)

    def collect(self, input_data: Any, user_correlation_id: str = "") -> dict[str, Any] | None:
        """Hand data over: a list is one row.

        Returns:
            For inputs that are stored or printed: what `add_correlations` adds to other data of
            the same request. Else None.
        """
        stores = self._is_enabled and is_wanted()
        if not self._prints and not stores:
            return None
        correlations = None
        if self._designation == "inputs":
            correlations = self._correlations(user_correlation_id)
            input_data = self.add_correlations(input_data, correlations)
        header, rows = _table(input_data)
        if rows is None:
            _say(_UNSUPPORTED.format(type(input_data).__name__))
            return None
        names = list(correlations or ())
        listed = [list(row) for row in rows]
        titles = header or (self._feature_names and self._feature_names + names)
        if stores:
            collect_rows(self._name, [named(_plain(row), titles) for row in listed])
        if self._prints:
            _say(_csv(titles, listed))
        return correlations

    def add_correlations(self, input_data: Any, correlations: dict[str, Any] | None) -> Any:
        """The data with a column for each of the correlations that `collect` has returned."""
        if correlations is None:
            return input_data
        values = list(correlations.values())
        if isinstance(input_data, list):
            return input_data + values
        if hasattr(input_data, "toPandas"):
            input_data = input_data.toPandas()
        if hasattr(input_data, "assign"):
            return input_data.assign(**correlations)
        if hasattr(input_data, "tolist"):
            return _with_columns(input_data, values)
        _say(_UNSUPPORTED.format(type(input_data).__name__))
        return input_data

    def _correlations(self, user_id: str) -> dict[str, Any]:
        generated = str(uuid.uuid4())
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        boundary = os.environ.get("AML_MODEL_DC_BOUNDARY", "day")
        return {
            self.AML_DC_CORRELATION_HEADER: f"{user_id}-{generated}" if user_id else generated,
            self.AML_DC_SCORING_TIMESTAMP_HEADER: now.isoformat(),
            self.AML_DC_BOUNDARY_HEADER: _MINUTES.get(boundary, _MINUTES["day"]),
            self.AML_WORKSPACE_HEADER: self.workspace,
            self.AML_SERVICE_NAME_HEADER: self.service_name,
            self.AML_MODEL_NAME_HEADER: self.model_name,
            self.AML_MODEL_VERSION_HEADER: self.model_version,
            self.AML_REQUEST_ID_HEADER: prediction_id() or _NO_REQUEST,
        }


_STORING = (
    "ModelDataCollector: data is stored with requests that are captured; "
    "set AML_MODEL_DC_DEBUG=true to print it, too"
)
_DEBUGGING = "ModelDataCollector: collected data is printed"


def _plain(row: list[Any]) -> list[Any]:
    """Without the types of numpy and pandas."""
    return [value.item() if hasattr(value, "item") else value for value in row]


def _service(name: str) -> str:
    return os.environ.get("SERVICE_NAME", name) if name == "default" else name


def _table(data: Any) -> tuple[list[str], Iterable[Iterable[Any]] | None]:
    """Column names, if the data has any, and rows; None for what is no table."""
    if isinstance(data, list):
        return [], [data]
    if hasattr(data, "toPandas"):
        data = data.toPandas()
    if hasattr(data, "itertuples"):
        return list(data.columns), data.itertuples(index=False)
    if hasattr(data, "ndim"):
        return [], [data] if data.ndim == 1 else data
    return [], None


def _with_columns(array: Any, values: list[Any]) -> Any:
    """An array, in which one dimension is one row, with the same values behind every row."""
    numpy = sys.modules["numpy"]
    rows = array.reshape(1, -1) if array.ndim == 1 else array
    added = numpy.array([values] * len(rows), dtype=object).reshape(len(rows), len(values))
    return numpy.append(rows, added, axis=1)


def _csv(header: list[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
