"""What may be served, each adding up the two numbers of a row: kinds of scripts and of models."""

from __future__ import annotations

READ = """
def rows_of(body):
    given = json.loads(body)
    return given.get("data") or given.get("x") or list(zip(given["a"], given["b"]))
"""

SCRIPTS = {
    "text": f"""
import json
{READ}
def run(raw_data):
    return [float(a + b) for a, b in rows_of(raw_data)]
""",
    "bytes": f"""
import json
{READ}
def run(raw_data: bytes):
    return [float(a + b) for a, b in rows_of(raw_data)]
""",
    "parsed": """
def run(rows: list):
    return [float(a + b) for a, b in rows]
""",
    "typed lists": """
def run(rows: list[list[float]]) -> list[float]:
    return [a + b for a, b in rows]
""",
    "typed records": """
from dataclasses import dataclass

@dataclass
class Row:
    a: float
    b: float

def run(rows: list[Row]) -> list[float]:
    return [row.a + row.b for row in rows]
""",
    "numpy": """
import numpy as np

def run(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=1).astype(float)
""",
    "pandas": """
import pandas as pd

def run(rows: pd.DataFrame):
    return rows.sum(axis=1).astype(float)
""",
    "decorated, numpy": """
import numpy as np
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.schema_decorators import input_schema, output_schema

@input_schema("x", NumpyParameterType(np.array([[1.0, 2.0]])))
@output_schema(NumpyParameterType(np.array([3.0])))
def run(x):
    return x.sum(axis=1)
""",
    "decorated, pandas": """
import pandas as pd
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.schema_decorators import input_schema

@input_schema("x", PandasParameterType(pd.DataFrame({"a": [1.0], "b": [2.0]})))
def run(x):
    return x.sum(axis=1).astype(float).tolist()
""",
    "asynchronous": """
async def run(rows: list[list[float]]) -> list[float]:
    return [a + b for a, b in rows]
""",
    "in parts": """
def run(rows: list[list[float]]):
    for a, b in rows:
        yield a + b
""",
}

BY_COLUMN = frozenset({"typed records"})
"""Those whose tensors are columns, `a` and `b`. The tensor of others is `x`."""
