"""The description of a service, checked by the validator of the specifications."""

from __future__ import annotations

import json
from typing import Any

import openapi_spec_validator
import pytest
from tests.unit.runtime.conftest import Load

from modelyard_runtime.auth import OPEN_PATHS
from modelyard_runtime.dialects import in_dialect
from modelyard_runtime.http.server import Response
from modelyard_runtime.openapi import describe
from modelyard_runtime.protocols.base import Surface

VERSIONS = ("2.0", "3.0", "3.1")
PAGES = Surface(
    {
        "/": {"GET": lambda request: Response(200)},
        "/score": {
            "GET": lambda request: Response(200),
            "POST": lambda request: Response(200),
            "OPTIONS": lambda request: Response(200),
        },
        "/v2": {"GET": lambda request: Response(200)},
        "/v2/": {"GET": lambda request: Response(200)},
        "/v2/models/flowers/infer": {"POST": lambda request: Response(200)},
    }
)
TYPES = """
from __future__ import annotations
import datetime, decimal, enum, uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict, Union
import msgspec
import numpy as np
import numpy.typing
import pandas as pd
import pydantic

class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"

@dataclass
class Flower:
    petal: float
    name: Optional[str] = None
    colour: Colour = Colour.RED

class Bed(TypedDict):
    flowers: list[Flower]
    planted: datetime.datetime

class Point(NamedTuple):
    x: float
    y: float

class Plot(msgspec.Struct):
    corners: list[Point]
    size: Annotated[int, msgspec.Meta(gt=0)]
    next: Optional[Plot] = None

class Pot(pydantic.BaseModel):
    width: float = pydantic.Field(gt=0)
    label: str | None = None
    flowers: list[Flower] = []

"""
PARAMETERS = [
    "data",
    "data: bytes",
    "data: dict",
    "data: Any",
    "rows: list[Flower]",
    "bed: Bed",
    "plot: Plot",
    "point: Point",
    "pots: list[Pot]",
    "pot: Optional[Pot]",
    "value: Union[int, str, None]",
    "value: Literal['a', 'b', 3]",
    "value: dict[str, list[tuple[int, str]]]",
    "value: Optional[Flower]",
    "value: uuid.UUID",
    "value: decimal.Decimal | None",
    "value: set[datetime.date]",
    "value: np.ndarray",
    "value: numpy.typing.NDArray[np.float32]",
    "value: pd.DataFrame",
    "rows: list[Flower], top: int = 3, *, names: list[str]",
    "frame: pd.DataFrame, matrix: np.ndarray, pot: Pot",
]


def documents(load_script: Load, definition: str, sample: Any = None) -> dict[str, dict[str, Any]]:
    entry = load_script(TYPES + definition)
    return describe(entry.signature, [PAGES], "flowers", sample, entry.streams)


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_is_valid(load_script: Load, parameters: str) -> None:
    definition = f"def run({parameters}) -> list[Optional[Plot]]: ..."
    found = documents(load_script, definition, sample=[1, {"a": None}])
    assert list(found) == list(VERSIONS)
    for document in found.values():
        openapi_spec_validator.validate(json.loads(json.dumps(document)))
        for reference in references(document):
            place: Any = document
            for step in reference.removeprefix("#/").split("/"):
                place = place[step]


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


def test_annotations_are_described(load_script: Load) -> None:
    found = documents(load_script, "def run(rows: list[Flower]) -> dict[str, float]: ...")
    assert found["2.0"]["info"]["title"] == "flowers"
    assert found["2.0"]["definitions"]["ServiceInput"]["items"] == {"$ref": "#/definitions/Flower"}
    third = found["3.1"]["components"]["schemas"]
    assert third["Flower"]["required"] == ["petal"]
    assert third["ServiceOutput"]["additionalProperties"] == {"type": "number"}
    assert found["3.0"]["paths"]["/score"]["post"]["operationId"] == "RunMLService"


@pytest.mark.parametrize("annotation", ["np.ndarray", "numpy.typing.NDArray[np.float32]"])
def test_results_that_are_arrays_are_described(load_script: Load, annotation: str) -> None:
    found = documents(load_script, f"def run(value: list[int]) -> {annotation}: ...")
    for version, document in found.items():
        openapi_spec_validator.validate(json.loads(json.dumps(document)))
        schemas = document["definitions" if version == "2.0" else "components"]
        output = schemas.get("schemas", schemas)["ServiceOutput"]
        assert output == {"type": "array", "items": {}}


def test_answers_in_parts_are_not_described_as_json(load_script: Load) -> None:
    found = documents(load_script, "def run(words: list[str]):\n    yield from words")
    for document in found.values():
        openapi_spec_validator.validate(json.loads(json.dumps(document)))
    assert "application/x-ndjson" in found["2.0"]["produces"]
    answers = found["3.1"]["paths"]["/score"]["post"]["responses"]
    assert list(answers["200"]["content"]) == [
        *("application/x-ndjson", "text/plain", "application/octet-stream")
    ]
    assert list(answers["default"]["content"]) == ["application/json"]


def test_every_path_is_described(load_script: Load) -> None:
    paths = documents(load_script, "def run(data): ...")["3.0"]["paths"]
    assert list(paths) == ["/", "/score", "/v2", "/v2/models/flowers/infer"]
    assert list(paths["/score"]) == ["get", "post"]
    operations = [one["operationId"] for methods in paths.values() for one in methods.values()]
    assert len(set(operations)) == len(operations)
    assert "requestBody" in paths["/score"]["post"]
    assert "requestBody" not in paths["/score"]["get"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_paths_that_need_no_key_are_those_that_are_open(
    load_script: Load, version: str
) -> None:
    paths = Surface({path: {"GET": lambda _: Response(200)} for path in (*OPEN_PATHS, "/metrics")})
    entry = load_script("def run(data): ...")
    described = describe(entry.signature, [paths], "flowers")[version]["paths"]
    closed = {path for path, methods in described.items() if "security" in methods["get"]}
    assert closed == {"/metrics"}


@pytest.mark.parametrize("definition", ["def run(data): ...", "def run(data: bytes): ..."])
def test_what_is_not_known_is_an_object(load_script: Load, definition: str) -> None:
    found = documents(load_script, definition)
    assert found["2.0"]["definitions"]["ServiceInput"] == {"type": "object", "example": {}}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_sample_is_the_example(load_script: Load, version: str) -> None:
    found = documents(load_script, "def run(data): ...", sample={"data": [[1, 2]]})[version]
    schemas = found.get("definitions") or found["components"]["schemas"]
    assert schemas["ServiceInput"]["example"] == {"data": [[1, 2]]}


@pytest.mark.parametrize(
    ("schema", "second", "third"),
    [
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            {"type": "string", "x-nullable": True},
            {"type": "string", "nullable": True},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            {},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        ({"const": 3}, {"enum": [3]}, {"enum": [3]}),
        ({"enum": ["a", None]}, {"enum": ["a"], "x-nullable": True}, None),
        (
            {"type": "integer", "exclusiveMinimum": 3},
            {"type": "integer", "minimum": 3, "exclusiveMinimum": True},
            None,
        ),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}], "items": False},
            {"type": "array", "items": {}},
            {"type": "array", "items": {}},
        ),
        ({"type": "array"}, {"type": "array", "items": {}}, None),
        (
            {"type": "string", "contentEncoding": "base64"},
            {"type": "string", "format": "byte"},
            {"type": "string", "format": "byte"},
        ),
        (
            {"$ref": "#/$defs/A", "description": "d"},
            {"description": "d", "allOf": [{"$ref": "#/A"}]},
            None,
        ),
    ],
)
def test_older_dialects(
    schema: dict[str, Any], second: dict[str, Any], third: dict[str, Any] | None
) -> None:
    assert in_dialect(schema, "2.0", "#/") == second
    if third is not None:
        assert in_dialect(schema, "3.0", "#/") == third


def test_the_newest_dialect_is_kept() -> None:
    schema = {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}], "$defs": {"A": {}}}
    assert in_dialect(schema, "3.1", "#/") == {"anyOf": [{"$ref": "#/A"}, {"type": "null"}]}
