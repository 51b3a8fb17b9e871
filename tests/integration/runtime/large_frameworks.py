"""Makes a model of each framework that has an environment of its own, and notes what it answers.

`.frameworks/bin/python tests/integration/runtime/large_frameworks.py <folder>`; run by a test,
with `KERAS_BACKEND=jax`.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import skops.io
import torch
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

FLOWERS = load_iris(as_frame=True)
SAMPLE = FLOWERS.data.iloc[::30]
ROWS = SAMPLE.to_numpy(dtype=np.float32)


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, flowers: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.layer(flowers), -1)


class Sums(mlflow.pyfunc.PythonModel):
    """A model that only MLflow can load."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input.sum(axis=1).round(1)


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    expected = {"rows": SAMPLE.to_numpy().tolist(), "records": SAMPLE.to_dict("records")}
    expected |= make_torch(folder)
    expected |= make_keras(folder)
    expected |= make_estimators(folder)
    (folder / "expected.json").write_text(json.dumps(expected))


def make_torch(folder: Path) -> dict[str, Any]:
    torch.manual_seed(1)
    network = Network().eval()
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    rows = torch.from_numpy(ROWS)
    torch.export.save(
        torch.export.export(network, (rows,), dynamic_shapes=shapes), folder / "network.pt2"
    )
    torch.jit.script(network).save(str(folder / "network.pt"))
    torch.save(network.state_dict(), folder / "weights.pt")
    return {"torch": network(rows).tolist()}


def make_keras(folder: Path) -> dict[str, Any]:
    given = keras.Input((4,), name="flowers")
    network = keras.Model(given, keras.layers.Dense(3, activation="softmax", name="kinds")(given))
    network.save(folder / "network.keras")
    return {"keras": network.predict_on_batch(ROWS).tolist()}


def make_estimators(folder: Path) -> dict[str, Any]:
    model = LogisticRegression(max_iter=500).fit(FLOWERS.data, FLOWERS.target)
    skops.io.dump(model, folder / "model.skops")
    signature = infer_signature(FLOWERS.data, model.predict(FLOWERS.data))
    pip = ["scikit-learn"]
    mlflow.sklearn.save_model(
        model,
        folder / "mlflow-sklearn",
        signature=signature,
        pip_requirements=pip,
        pyfunc_predict_fn="predict_proba",
    )
    mlflow.pyfunc.save_model(
        folder / "mlflow-python", python_model=Sums(), signature=signature, pip_requirements=pip
    )
    return {
        "classes": model.predict(SAMPLE).tolist(),
        "probabilities": model.predict_proba(SAMPLE).tolist(),
        "sums": SAMPLE.sum(axis=1).round(1).tolist(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
