"""Data collectors, old and new: they take what scripts hand over, and do nothing unasked."""

from __future__ import annotations

from typing import Any

import numpy
import pandas
import pytest

from modelyard_runtime.compat.collector import ModelDataCollector


@pytest.fixture
def debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AML_MODEL_DC_DEBUG", "true")
    monkeypatch.setenv("SERVICE_NAME", "flowers")


COLUMNS = [
    "$aml_dc_correlation_id",
    "$aml_dc_scoring_timestamp",
    "$aml_dc_boundary",
    "$aml_workspace",
    "$aml_service_name",
    "$aml_model_name",
    "$aml_model_version",
    "$aml_request_id",
]


class TestWithoutCollection:
    def test_both_generations_of_arguments_are_taken(self) -> None:
        old = ModelDataCollector("iris", identifier="inputs", feature_names=["a", "b"])
        new = ModelDataCollector("iris", "predictions", ["a"], "s/g/W", "web", "3", "file")
        assert old.collect([1, 2]) is None
        assert new.collect([1], user_correlation_id="u") is None
        assert new.add_correlations([1], None) == [1]
        assert new.workspace == "s/g/w"

    def test_it_says_so_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        collector = ModelDataCollector("iris", designation="inputs")
        collector.collect([1])
        assert (
            "is stored with requests that are captured" in capsys.readouterr().out.splitlines()[0]
        )

    def test_an_unknown_designation_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert ModelDataCollector("iris", "input").collect([1]) is None
        assert "must be one of inputs, predictions" in capsys.readouterr().out


@pytest.mark.usefixtures("debugging")
class TestDebugging:
    def test_inputs_get_correlations(self, capsys: pytest.CaptureFixture[str]) -> None:
        collector = ModelDataCollector("iris", "inputs", ["a", "b"])
        correlations = collector.collect([1, 2], "mine")
        assert correlations is not None
        assert list(correlations) == COLUMNS
        assert correlations["$aml_dc_correlation_id"].startswith("mine-")
        assert correlations["$aml_dc_boundary"] == 1440
        assert correlations["$aml_service_name"] == "flowers"
        header, row = capsys.readouterr().out.splitlines()[-2:]
        assert header.split(",") == ["a", "b", *COLUMNS]
        assert row.split(",")[:2] == ["1", "2"]

    def test_predictions_take_those_of_the_inputs(self) -> None:
        correlations = ModelDataCollector("iris", "inputs").collect([1])
        predictions = ModelDataCollector("iris", "predictions")
        assert correlations is not None
        together = predictions.add_correlations([5], correlations)
        assert together == [5, *correlations.values()]
        assert predictions.collect(together) is None

    def test_arrays_and_tables_get_columns(self) -> None:
        collector = ModelDataCollector("iris", "inputs")
        correlations = collector.collect(numpy.array([[1, 2], [3, 4]]))
        assert collector.add_correlations(numpy.array([1, 2]), correlations).shape == (1, 10)
        frame = collector.add_correlations(pandas.DataFrame({"a": [1, 2]}), correlations)
        assert list(frame.columns) == ["a", *COLUMNS]

    def test_tables_are_printed_with_their_names(self, capsys: pytest.CaptureFixture[str]) -> None:
        ModelDataCollector("iris").collect(pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
        assert capsys.readouterr().out.splitlines()[-3:] == ["a,b", "1,x", "2,y"]

    @pytest.mark.parametrize("data", ["text", 5, {"a": 1}])
    def test_other_data_is_told_of(self, data: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert ModelDataCollector("iris").collect(data) is None
        assert f"not {type(data).__name__}" in capsys.readouterr().out

    def test_hours_are_a_boundary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AML_MODEL_DC_BOUNDARY", "hour")
        correlations = ModelDataCollector("iris", "inputs").collect([1])
        assert correlations is not None
        assert correlations["$aml_dc_boundary"] == 60
