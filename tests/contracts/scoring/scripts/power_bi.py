"""The shape that Power BI reads: Inputs, GlobalParameters, Results, with types inside of types."""

import numpy as np
import pandas as pd
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import (
    StandardPythonParameterType,
)
from inference_schema.schema_decorators import input_schema, output_schema

rows = PandasParameterType(pd.DataFrame({"x": [1.0], "y": ["a"]}))
array = NumpyParameterType(np.array([[1, 2]]))
inputs = StandardPythonParameterType({"rows": rows, "arrays": array, "note": "plain"})
results = StandardPythonParameterType({"Results": StandardPythonParameterType([1.0])})
many = StandardPythonParameterType([NumpyParameterType(np.array([1.0, 2.0]))])


def init():
    pass


@input_schema("Inputs", inputs)
@input_schema("GlobalParameters", StandardPythonParameterType({"factor": 1.0}))
@input_schema("many", many, optional=True)
@output_schema(results)
def run(Inputs, GlobalParameters, many=()):  # noqa: N803
    rows, arrays = Inputs.get("rows"), Inputs.get("arrays")
    return {
        "Results": {
            "x": None if rows is None else float(rows["x"].sum()),
            "a": None if arrays is None else arrays.sum(axis=1).tolist(),
            "note": Inputs.get("note"),
            "factor": GlobalParameters.get("factor"),
            "many": [type(item).__name__ for item in many],
        }
    }
