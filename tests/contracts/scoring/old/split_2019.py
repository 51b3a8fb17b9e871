"""The model's name out of AZUREML_MODEL_DIR, as much copied templates of 2019 do it."""

import os

import joblib
import numpy
from azureml.core.model import Model
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.standard_py_parameter_type import (
    StandardPythonParameterType,
)
from inference_schema.schema_decorators import input_schema, output_schema


def init():
    global model
    name = os.getenv("AZUREML_MODEL_DIR").split("/")[-2]
    model = joblib.load(Model.get_model_path(name))


rows = numpy.array([[0.9, 1.05], [0.1, 2.5]])
answers = {"result": [5021.5, 3693.0]}


@input_schema("data", NumpyParameterType(rows))
@output_schema(StandardPythonParameterType(answers))
def run(data, request_headers):
    result = model.predict(data)
    print(f"{request_headers.get('X-Ms-Request-Id', '?')}: {len(result)} rows")  # noqa: T201
    return {"result": result.tolist()}
