"""The messages of the Open Inference Protocol over gRPC, made from the table below at import.

There is no generated code: that demands a version of protobuf near the one that generated it, and a
script's environment brings its own. The messages have a pool of their own, because a script may
import a client of the same protocol, whose messages have the same names.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"

_TABLE: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("1 bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("1 bool ready",),
    "ModelReadyRequest": ("1 string name", "2 string version"),
    "ModelReadyResponse": ("1 bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("1 string name", "2 string version", "3 string* extensions"),
    "ModelMetadataRequest": ("1 string name", "2 string version"),
    "TensorMetadata": ("1 string name", "2 string datatype", "3 int64* shape"),
    "ModelMetadataResponse": (
        "1 string name",
        "2 string* versions",
        "3 string platform",
        "4 TensorMetadata* inputs",
        "5 TensorMetadata* outputs",
    ),
    "Value": (
        "1 bool bool_param",
        "2 int64 int64_param",
        "3 string string_param",
        "4 double double_param",
        "5 uint64 uint64_param",
    ),
    "Parameter": ("1 string key", "2 Value value"),
    "Contents": (
        "1 bool* bool_contents",
        "2 int32* int_contents",
        "3 int64* int64_contents",
        "4 uint32* uint_contents",
        "5 uint64* uint64_contents",
        "6 float* fp32_contents",
        "7 double* fp64_contents",
        "8 bytes* bytes_contents",
    ),
    "InputTensor": ("1 string name", "2 string datatype", "3 int64* shape", "5 Contents contents"),
    "RequestedOutput": ("1 string name",),
    "ModelInferRequest": (
        "1 string model_name",
        "2 string model_version",
        "3 string id",
        "4 bytes* parameters",
        "5 bytes* inputs",
        "6 bytes* outputs",
        "7 bytes* raw_input_contents",
    ),
    "OutputTensor": ("1 string name", "2 string datatype", "3 int64* shape"),
    "ModelInferResponse": (
        "1 string model_name",
        "2 string model_version",
        "3 string id",
        "5 OutputTensor* outputs",
    ),
}
"""Each field: its number, its type, `*` if there are any number of it, and its name.

What is there many times in a request is `bytes` here, which is the same on the wire: an empty
message takes two bytes there and fifty times that in memory, so they are counted first. A map is on
the wire what it is here, pairs. Fields that nothing reads are left out, and skipped.
"""

RAW_OUTPUT_CONTENTS = 6
"""The field of a `ModelInferResponse` that holds the data of its outputs, one element for each."""

_UNION = "Value"
CHOICE = "choice"
"""The name of what is one field of a `Value` at most."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    kind: getattr(_Field, f"TYPE_{kind.upper()}")
    for kind in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


def _add_field(message: Any, line: str, *, united: bool) -> None:
    number, kind, name = line.split()
    kind, many = kind.rstrip("*"), kind.endswith("*")
    field = message.field.add(name=name, number=int(number))
    field.label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
    field.type = _SCALARS.get(kind, _Field.TYPE_MESSAGE)
    if kind not in _SCALARS:
        field.type_name = f".{PACKAGE}.{kind}"
    if united:
        field.oneof_index = 0


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="open_inference.proto", package=PACKAGE, syntax="proto3"
    )
    for name, lines in _TABLE.items():
        message = file.message_type.add(name=name)
        if name == _UNION:
            message.oneof_decl.add(name=CHOICE)
        for line in lines:
            _add_field(message, line, united=name == _UNION)
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(_file().SerializeToString())


def message_class(name: str) -> Any:
    """The class of a message of the table."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
