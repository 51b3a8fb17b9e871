"""Saves a model for MLflow whose predictions are traced: `python mlflow_kept.py FOLDER`."""

import sys

import mlflow
from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, Schema


class Kept(PythonModel):
    """Answers with the number that it was asked about."""

    @mlflow.trace
    def predict(self, context, model_input, params=None):
        number = int(model_input["number"].iloc[0])
        mlflow.update_current_trace(tags={"number": str(number)})
        return [number]


if __name__ == "__main__":
    signature = ModelSignature(Schema([ColSpec(DataType.long, "number")]))
    mlflow.pyfunc.save_model(
        sys.argv[1], python_model=Kept(), signature=signature, pip_requirements=["numpy"]
    )
