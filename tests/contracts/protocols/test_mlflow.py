"""The same requests to MLflow's own server, recorded, and to ours: the same answers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from tests.contracts.protocols.inline import routes_of

from modelyard_runtime.config import Config, Model
from modelyard_runtime.http.server import Headers, Request, Response
from modelyard_runtime.loading import load
from modelyard_runtime.protocols import mlflow
from modelyard_runtime.routes import Routes

HERE = Path(__file__).parent
REQUESTS = json.loads((HERE / "mlflow_requests.json").read_text())
ANSWERS = json.loads((HERE / "mlflow_answers.json").read_text())["answers"]
OTHER_CODES = {"INVALID_PARAMETER_VALUE": "BAD_REQUEST"}
"""Codes of errors for which we know only one."""

X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
Y = X @ [2.0, -1.0] + 0.5


def model(name: str) -> Any:
    if name == "named":
        return LinearRegression().fit(pd.DataFrame(X, columns=["a", "b"]), Y)
    if name == "plain":
        return LinearRegression().fit(X, Y)
    return LogisticRegression().fit(X, np.where(Y > 1, "high", "low"))


@pytest.fixture
def served(configure: Callable[..., Config], tmp_path: Path) -> Callable[[str], Routes]:
    def served(name: str) -> Routes:
        values = {field: getattr(configure(), field) for field in Config.__dataclass_fields__}
        path = tmp_path / "models" / "iris" / "3"
        (path / "weights.txt").unlink()
        (path / "model.pkl").write_bytes(pickle.dumps(model(name)))
        models = (Model("iris", "3", str(path), "pickle", "scikit-learn"),)
        config = Config(**values | {"models": models, "script": None})
        entry = load(config, lambda phase: None)
        surface = mlflow.routes(entry, config, lambda: "")
        return routes_of(entry, config, [surface], lambda: "")

    return served


def request_of(case: dict[str, Any]) -> Request:
    body = b""
    if "latin" in case:
        body = case["latin"].encode("latin-1")
    elif "type" in case:
        body = case.get("text", json.dumps(case.get("body"))).encode()
    fields = [(b"content-type", case["type"].encode())] if "type" in case else []
    method, path = case.get("method", "POST"), case.get("path", "/invocations")
    return Request(method, path, "", Headers(fields), body)


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: str(case["case"]))
def test_we_answer_as_mlflow_does(
    case: dict[str, Any], served: Callable[[str], Routes], load_script: object
) -> None:
    recorded = ANSWERS[case["case"]]
    response = served(case.get("model", "named"))(request_of(case))
    assert isinstance(response, Response)
    assert response.status == recorded["status"], response.body
    assert isinstance(response.body, bytes)
    if "error_code" in recorded:
        code = OTHER_CODES.get(recorded["error_code"], recorded["error_code"])
        assert json.loads(response.body).keys() == {"error_code", "message"}
        assert json.loads(response.body)["error_code"] == code
    elif recorded["status"] == 200 and isinstance(recorded["body"], str):
        assert response.body.decode() == recorded["body"]
    elif recorded["status"] == 200:
        expected = recorded["body"]["predictions"]
        predictions = json.loads(response.body)["predictions"]
        assert json.loads(response.body).keys() == recorded["body"].keys()
        if isinstance(expected[0], float):
            expected = pytest.approx(expected)
        assert predictions == expected
