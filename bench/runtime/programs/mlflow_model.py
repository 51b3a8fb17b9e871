"""Saves the workload's model as MLflow does, in its environment: `python mlflow_model.py FOLDER`.

For W4 it also writes the request: MLflow's only binary input is a Parquet table.
"""

import os
import sys

import calls
import joblib
import mlflow
import numpy as np
import onnx
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, Schema, TensorSpec


class Mean(PythonModel):
    """The mean of the only column."""

    def predict(self, context, model_input, params=None):
        return np.atleast_1d(model_input["x"].to_numpy().mean())


def path(name):
    """A file of the models' folder."""
    return os.path.join(calls.MODELS, name)


def main(folder):
    """Write the model."""
    requirements = ["numpy"]  # the environment is there: this only keeps it from being inferred
    if calls.WORKLOAD in ("W2", "W3"):
        signature = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 64), "x")]))
        options = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        mlflow.onnx.save_model(
            onnx.load(path("mlp.onnx")),
            folder,
            signature=signature,
            onnx_session_options=options,
            onnx_execution_providers=["CPUExecutionProvider"],
            pip_requirements=requirements,
        )
    elif calls.WORKLOAD == "W4":
        signature = ModelSignature(Schema([ColSpec(DataType.float, "x")]))
        table = pd.DataFrame({"x": np.fromfile(path("W4.bin"), "<f4")})
        table.to_parquet(path("W4.parquet"), compression=None)
        mlflow.pyfunc.save_model(
            folder, python_model=Mean(), signature=signature, pip_requirements=requirements
        )
    else:
        model = joblib.load(path("iris.joblib" if calls.WORKLOAD == "W1" else "forest.joblib"))
        width = model.n_features_in_
        signature = ModelSignature(Schema([TensorSpec(np.dtype("float64"), (-1, width))]))
        mlflow.sklearn.save_model(
            model,
            folder,
            signature=signature,
            pip_requirements=requirements,
            serialization_format="cloudpickle",
        )


if __name__ == "__main__":
    main(sys.argv[1])
