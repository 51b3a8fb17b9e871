"""The usual case of 2019 and later: a numpy array, described by a sample."""

import numpy as np
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.schema_decorators import input_schema, output_schema


def init():
    global weights
    weights = np.array([1.0, 10.0, 100.0])


@input_schema("data", NumpyParameterType(np.array([[1.0, 2.0, 3.0]])))
@output_schema(NumpyParameterType(np.array([321.0])))
def run(data):
    try:
        return (data @ weights).tolist()
    except AttributeError as error:
        return {"error": str(error)}
