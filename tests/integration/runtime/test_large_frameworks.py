"""Models of PyTorch, Keras, MLflow and skops without a script, in an environment of their own.

`make test` lays it out as `.frameworks`; its packages are too large for the one of the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.runtime.replica import PACKAGES, Replica
from tests.integration.runtime.served_model import serving
from tests.integration.runtime.wire import Answer, ask, request

LONG = 120.0
"""Seconds: these packages take several to import, on a machine that does other things many."""
ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".frameworks" / "bin" / "python"
LIBRARIES = (
    ROOT
    / ".frameworks"
    / "lib"
    / f"python{sys.version_info.major}.{sys.version_info.minor}"
    / "site-packages"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert PYTHON.exists(), "run `make .frameworks/.ready` first, or `make test`, which does"
    folder = tmp_path_factory.mktemp("models")
    program = Path(__file__).with_name("large_frameworks.py")
    environment = {**os.environ, "HOME": str(folder), "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [PYTHON, program, folder], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def expected(models: Path) -> dict[str, Any]:
    return dict(json.loads((models / "expected.json").read_text()))


@contextmanager
def large(file: Path, format: str, framework: str | None = None, **more: Any) -> Iterator[Replica]:
    runtime = PACKAGES[0]  # with nothing of the environment that the tests run in
    packages = [runtime, str(LIBRARIES)]
    environment = {"HOME": str(file.parent), **more.pop("environment", {})}
    with serving(
        file,
        format,
        framework,
        packages=packages,
        environment=environment,
        patience=LONG,
        **more,
    ) as replica:
        yield replica


def post(replica: Replica, document: Any, path: str = "/score") -> Answer:
    headers = {"content-type": "application/json"}
    body = json.dumps(document).encode()
    return ask(replica.socket, request("POST", path, body, headers, close=True))


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-6)


class TestTorch:
    def test_exported_program(self, models: Path, expected: dict[str, Any]) -> None:
        with large(models / "network.pt2", "torch_export", "pytorch") as replica:
            assert_close(post(replica, expected["rows"]).json(), expected["torch"])
            metadata = replica.get("/v2/models/flowers").json()
            wanted = {"name": "flowers", "datatype": "FP32", "shape": [-1, 4]}
            assert metadata["inputs"] == [wanted]
            refused = post(replica, [[1, 2, 3]])
            assert (refused.status, "must have the shape" in refused.message) == (422, True)

    def test_torchscript(self, models: Path, expected: dict[str, Any]) -> None:
        with large(models / "network.pt", "torchscript", "pytorch") as replica:
            assert_close(post(replica, expected["rows"]).json(), expected["torch"])
            refused = post(replica, [[1, 2, 3]])
            assert refused.status == 422
            assert "shapes cannot be multiplied" in refused.message

    def test_weights_alone_need_a_script(self, models: Path) -> None:
        with large(models / "weights.pt", "torchscript", "pytorch", ready=False) as replica:
            assert replica.status["cause"]["code"] == "model_not_loaded"


class TestKeras:
    @pytest.mark.parametrize("backend", ["jax", "torch"])
    def test_on_each_backend(self, models: Path, expected: dict[str, Any], backend: str) -> None:
        environment = {"KERAS_BACKEND": backend}
        with large(models / "network.keras", "keras", environment=environment) as replica:
            assert_close(post(replica, expected["rows"]).json(), expected["keras"])
            records = [{"flowers": row} for row in expected["rows"][:3]]
            assert_close(post(replica, records).json(), expected["keras"][:3])
            metadata = replica.get("/v2/models/flowers").json()
            assert metadata["outputs"][0]["name"] == "kinds"


class TestMlflow:
    def test_by_the_adapter_of_its_framework(self, models: Path, expected: dict[str, Any]) -> None:
        with large(models / "mlflow-sklearn", "mlflow", "scikit-learn") as replica:
            # The method that was chosen when the model was saved is the one without asking.
            assert post(replica, expected["records"]).json() == expected["probabilities"]
            asked = {"data": expected["rows"], "method": "predict"}
            assert post(replica, asked).json() == expected["classes"]
            wrong = [{**expected["records"][0], "petal width (cm)": "wide"}]
            refused = post(replica, wrong)
            assert (refused.status, "petal width (cm)" in refused.message) == (422, True)

    def test_by_mlflow_itself(self, models: Path, expected: dict[str, Any]) -> None:
        with large(models / "mlflow-python", "mlflow") as replica:
            assert post(replica, expected["records"]).json() == expected["sums"]
            split = {"columns": list(expected["records"][0]), "data": expected["rows"]}
            answer = post(replica, {"dataframe_split": split}, "/invocations")
            assert answer.json() == {"predictions": expected["sums"]}


def test_skops(models: Path, expected: dict[str, Any]) -> None:
    with large(models / "model.skops", "skops", "scikit-learn") as replica:
        answer = post(replica, expected["records"]).json()
        assert answer == expected["classes"], replica.log.read_text()
