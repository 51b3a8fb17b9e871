"""Types of the language, a parameter each; the last is described and passed on as it comes."""

import datetime

from inference_schema.parameter_types.standard_py_parameter_type import (
    StandardPythonParameterType,
)
from inference_schema.schema_decorators import input_schema, output_schema

WHEN = datetime.datetime(2019, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def init():
    pass


@input_schema("text", StandardPythonParameterType("sample"))
@input_schema("number", StandardPythonParameterType(1.5), optional=True)
@input_schema("count", StandardPythonParameterType(3), optional=True)
@input_schema("flag", StandardPythonParameterType(True), optional=True)
@input_schema("blob", StandardPythonParameterType(b"abc"), optional=True)
@input_schema("when", StandardPythonParameterType(WHEN), optional=True)
@input_schema("items", StandardPythonParameterType([1, 2]), optional=True)
@input_schema("fields", StandardPythonParameterType({"a": 1}), convert_to_provided_type=False)
@output_schema(StandardPythonParameterType({"all": ["x"]}))
def run(
    text,
    number=0.5,
    count=0,
    flag=False,
    blob=None,
    when=None,
    items=None,
    fields="default",
    plain=7,
):
    moment = when and when.isoformat()
    given = [text, number, count, flag, blob, moment, items, fields, plain]
    return {"all": [f"{type(value).__name__} {value!r}" for value in given]}
