from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import orjson
import pandas
import pytest
from tests.unit.runtime.recorded import in_another_process

from modelyard_runtime import collect
from modelyard_runtime.capture.collecting import Answering, sink
from modelyard_runtime.capture.records import Collected, decode
from modelyard_runtime.capture.rules import Rules, hash_value
from modelyard_runtime.capture.segments import segments_in
from modelyard_runtime.capture.spool import Bounds
from modelyard_runtime.capture.wanted import Wanted
from modelyard_runtime.compat.collector import ModelDataCollector

WANTED = Wanted("k", Bounds())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    sink.folder, sink.writer = tmp_path, "worker-0-script"
    yield tmp_path
    sink.tick(close=True)
    sink.__init__()  # type: ignore[misc]


def stored(folder: Path) -> list[tuple[str, str, Any]]:
    sink.tick(close=True)
    records = [decode(p) for path in segments_in(folder) for p in in_another_process(path)]
    return [
        (record.name, record.prediction, orjson.loads(record.rows))
        for record in records
        if isinstance(record, Collected)
    ]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ([1, "a"], [{"x0": 1, "x1": "a"}]),
        (numpy.array([1.5, 2.5]), [{"x0": 1.5, "x1": 2.5}]),
        (numpy.array([[1, 2], [3, 4]]), [{"x0": 1, "x1": 2}, {"x0": 3, "x1": 4}]),
        (pandas.DataFrame({"age": [1, 2]}), [{"age": 1}, {"age": 2}]),
        ({"age": [1, 2], "name": ["a", "b"]}, [{"age": 1, "name": "a"}, {"age": 2, "name": "b"}]),
        ([{"age": 1}, {"age": 2}], [{"age": 1}, {"age": 2}]),
        ([{"when": pandas.Timestamp("2026-01-02")}], [{"when": "2026-01-02 00:00:00"}]),
    ],
)
def test_rows_of_every_kind_belong_to_the_answer(folder: Path, data: Any, rows: Any) -> None:
    with Answering(b"p1", WANTED):
        assert collect("inputs", data)
    assert stored(folder) == [("inputs", "p1", rows)]


def test_rules_are_applied_before_anything_is_written(folder: Path) -> None:
    ruled = WANTED._replace(rules=Rules(["name"], ["id"], b"key"))
    with Answering(b"p1", ruled):
        assert collect("inputs", [{"name": "a", "id": 7, "age": 1}])
        assert not collect("inputs", [{"deep": "[" * 1000 + "]" * 1000, "age": 2}])
    expected = {"id": hash_value(7, b"key"), "age": 1}
    assert stored(folder) == [("inputs", "p1", [expected])]


def test_what_is_not_recorded_is_not_collected(folder: Path) -> None:
    assert not collect("inputs", [1])
    with Answering(b"p1", None):
        assert not collect("inputs", [1])
    assert stored(folder) == []
    assert list(folder.iterdir()) == []


def test_what_is_no_table_is_refused() -> None:
    with Answering(b"p1", WANTED), pytest.raises(TypeError, match="a data frame, an array"):
        collect("inputs", 42)


@pytest.mark.parametrize("by", ["designation", "identifier"])
def test_the_collector_of_azure_ml_stores(folder: Path, by: str) -> None:
    arguments: dict[str, Any] = {by: "inputs", "feature_names": ["age", "bmi"]}
    collector = ModelDataCollector("diabetes", **arguments)
    assert collector.collect([1, 2]) is None  # outside of any request
    with Answering(b"p1", WANTED):
        correlations = collector.collect(numpy.array([[1, 2], [3, 4]]), "mine")
    ((name, prediction, rows),) = stored(folder)
    assert (name, prediction) == ("inputs", "p1")
    assert [(row["age"], row["bmi"]) for row in rows] == [(1, 2), (3, 4)]
    assert correlations is not None
    assert rows[0]["$aml_dc_correlation_id"] == correlations["$aml_dc_correlation_id"]
    assert rows[0]["$aml_dc_correlation_id"].startswith("mine-")
    assert rows[0]["$aml_request_id"] == "p1"


def test_a_designation_that_there_is_not_stores_nothing(folder: Path) -> None:
    collector = ModelDataCollector("diabetes", "wishes")
    with Answering(b"p1", WANTED):
        assert collector.collect([1, 2]) is None
    assert stored(folder) == []


def test_predictions_carry_the_correlations_of_their_inputs(folder: Path) -> None:
    inputs = ModelDataCollector("diabetes", "inputs")
    predictions = ModelDataCollector("diabetes", "predictions", ["risk"])
    with Answering(b"p1", WANTED):
        correlations = inputs.collect([1])
        predictions.collect(predictions.add_correlations([0.5], correlations))
    assert correlations is not None
    assert [name for name, _, _ in stored(folder)] == ["inputs", "predictions"]
    row = stored(folder)[1][2][0]
    assert row["risk"] == 0.5
    assert next(iter(correlations.values())) in row.values()
