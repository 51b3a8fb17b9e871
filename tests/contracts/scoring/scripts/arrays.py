"""Numpy arrays of other kinds, each in a parameter of its own."""

import numpy as np
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.schema_decorators import input_schema, output_schema

NAMED = np.array([(1, 2.5)], dtype=[("id", "i8"), ("size", "f4")])
TIMES = np.array(["2019-01-02T03:04:05"], dtype="datetime64[s]")


def init():
    pass


@input_schema("whole", NumpyParameterType(np.array([1, 2], dtype="i4")), optional=True)
@input_schema("loose", NumpyParameterType(np.zeros((1, 2)), enforce_shape=False), optional=True)
@input_schema(
    "untyped",
    NumpyParameterType(np.zeros((1, 2)), enforce_column_type=False),
    optional=True,
)
@input_schema("cube", NumpyParameterType(np.zeros((1, 2, 2), dtype="f4")), optional=True)
@input_schema("named", NumpyParameterType(NAMED), optional=True)
@input_schema("times", NumpyParameterType(TIMES), optional=True)
@input_schema("texts", NumpyParameterType(np.array(["a", "bc"])), optional=True)
@output_schema(NumpyParameterType(np.array([[1.5, 2.5]])))
def run(whole=None, loose=None, untyped=None, cube=None, named=None, times=None, texts=None):
    given = [whole, loose, untyped, cube, named, times, texts]
    return [
        [array.dtype.str.lstrip("<|"), list(array.shape), str(array.tolist())]
        for array in given
        if array is not None
    ]
