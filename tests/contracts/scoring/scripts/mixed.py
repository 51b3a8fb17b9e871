"""An array of mixed types: Swagger 2.0 has no word for it, OpenAPI has."""

from inference_schema.parameter_types.standard_py_parameter_type import (
    StandardPythonParameterType,
)
from inference_schema.schema_decorators import input_schema


def init():
    pass


@input_schema("row", StandardPythonParameterType([1, "two", 3.0]))
def run(row):
    return row
