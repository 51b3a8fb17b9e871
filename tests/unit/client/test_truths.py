"""Truths in files, and in requests that are not too long."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from modelyard.client.truths import batches, read_truths
from modelyard.errors import InvalidRequest, NotFound


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_table_of_texts(tmp_path: Path) -> None:
    text = 'prediction_id,truth,row\na,7,\nb,cat,2\nc,"[1, 2]",\nd,,\ne,NaN,\nf,007,\n'
    assert list(read_truths(written(tmp_path, "truths.csv", text))) == [
        {"prediction_id": "a", "truth": 7},
        {"prediction_id": "b", "truth": "cat", "row": 2},
        {"prediction_id": "c", "truth": [1, 2]},
        {"prediction_id": "e", "truth": "NaN"},
        {"prediction_id": "f", "truth": "007"},
    ]


def test_objects_and_parquet(tmp_path: Path) -> None:
    told = {"prediction_id": "a", "truth": {"kind": "cat"}, "row": 0}
    lines = json.dumps({**told, "more": 1}) + "\n\n"
    assert list(read_truths(written(tmp_path, "truths.jsonl", lines))) == [told]
    path = tmp_path / "truths.parquet"
    values = "('a', 0.5, 1), ('b', NULL, 1)"
    duckdb.execute(
        f"COPY (SELECT * FROM (VALUES {values}) AS t (prediction_id, truth, row)) TO '{path}'"
    )
    assert [json.loads(body) for body in batches(read_truths(path))] == [
        {"feedback": [{"prediction_id": "a", "truth": 0.5, "row": 1}]}
    ]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.txt", "", "ends in none of .csv, .jsonl, .parquet"),
        ("a.csv", "", "there is no truth in"),
        ("a.csv", "prediction_id,truth\n", "there is no truth in"),
        ("a.csv", "prediction_id;truth\na;1\n", "entry 1 of .*; it has `prediction_id;truth`"),
        ("a.csv", "id,truth\na,1\n", "entry 1 of .* has no `prediction_id`"),
        ("a.csv", "prediction_id,truth,row\na,1,x\n", "`x` in .* is not the number of a row"),
        ("a.jsonl", '{"prediction_id": "a", "truth": 1}\n[\n', "line 2 of .* is no JSON"),
        ("a.jsonl", "[1]\n", "entry 1"),
        ("a.parquet", "x", "cannot be read as Parquet"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, name: str, text: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        list(read_truths(written(tmp_path, name, text)))
    with pytest.raises(NotFound):
        list(read_truths(tmp_path / "missing.csv"))


@pytest.mark.parametrize(
    ("truth", "told"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ({"kind": np.str_("cat"), "sure": np.bool_(True)}, {"kind": "cat", "sure": True}),
        (datetime(2026, 1, 2, 3), "2026-01-02 03:00:00"),
    ],
)
def test_values_of_numpy_and_times_are_json(truth: Any, told: Any) -> None:
    (body,) = batches([{"prediction_id": "a", "truth": truth}])
    assert json.loads(body)["feedback"][0]["truth"] == told


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        (object(), "a `object` is not JSON"),
        ({1, 2}, "a `set` is not JSON"),
        (float("nan"), "NaN and infinity are no JSON"),
        (np.array([1.0, np.nan]), "NaN and infinity are no JSON"),
    ],
)
def test_what_json_has_no_word_for_is_refused(truth: Any, why: str) -> None:
    with pytest.raises(InvalidRequest, match=f"the truth of `a` cannot be told: {why}"):
        list(batches([{"prediction_id": "a", "truth": truth}]))


def test_requests_are_not_too_long() -> None:
    def told(truth: Any) -> dict[str, Any]:
        return {"prediction_id": "a", "truth": truth}

    sizes = [
        [len(json.loads(body)["feedback"]) for body in batches(some)]
        for some in ([], [told(1)] * 2500, [told([1] * 600)] * 3, [told("x" * (300 << 10))] * 2)
    ]
    assert sizes == [[], [1000, 1000, 500], [1, 1, 1], [1, 1]]
