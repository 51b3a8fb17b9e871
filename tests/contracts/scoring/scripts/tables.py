"""Pandas tables in every orientation, each in a parameter of its own."""

import pandas as pd
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.schema_decorators import input_schema, output_schema

SAMPLE = pd.DataFrame({"sepal": [5.1], "petal": [1], "name": ["setosa"]})
DATED = pd.DataFrame({"when": pd.to_datetime(["2019-01-02"]), "n": [1.0]})
NUMBERS = pd.DataFrame([[1.0, 2.0]])


def init():
    pass


@input_schema("records", PandasParameterType(SAMPLE), optional=True)
@input_schema("split", PandasParameterType(SAMPLE, orient="split"), optional=True)
@input_schema("index", PandasParameterType(SAMPLE, orient="index"), optional=True)
@input_schema("columns", PandasParameterType(SAMPLE, orient="columns"), optional=True)
@input_schema("values", PandasParameterType(NUMBERS, orient="values"), optional=True)
@input_schema("dated", PandasParameterType(DATED), optional=True)
@input_schema("loose", PandasParameterType(SAMPLE, enforce_shape=False), optional=True)
@input_schema("untyped", PandasParameterType(SAMPLE, enforce_column_type=False), optional=True)
@output_schema(PandasParameterType(SAMPLE))
def run(
    records=None,
    split=None,
    index=None,
    columns=None,
    values=None,
    dated=None,
    loose=None,
    untyped=None,
):
    given = [records, split, index, columns, values, dated, loose, untyped]
    return [
        [
            [str(column) for column in frame.columns],
            [dtype.kind for dtype in frame.dtypes],
            frame.astype(str).values.tolist(),
        ]
        for frame in given
        if frame is not None
    ]
