"""Scripts of the original on their way in: surroundings, decorators, drivers, refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.unit.runtime.conftest import Load

from modelyard_runtime.causes import IMPORT_FAILED, NO_RUN_FUNCTION, StartFailed
from modelyard_runtime.compat.decorated import DecoratedSignature
from modelyard_runtime.compat.raw import RawSignature

IMPORTS = """
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import (
    StandardPythonParameterType as Type,
)
from azureml.contrib.services.aml_request import rawhttp
"""


def test_a_decorated_run_takes_several_parameters(load_script: Load) -> None:
    entry = load_script(
        IMPORTS + "@input_schema('a', Type(1))\n"
        "@input_schema('b', Type('x'))\n"
        "def run(a, b, request_headers): return a"
    )
    assert isinstance(entry.signature, DecoratedSignature)
    assert entry.takes_headers
    assert entry.run(a=1, b="x", request_headers={}) == 1


def test_a_raw_run_takes_the_request(load_script: Load) -> None:
    entry = load_script(IMPORTS + "@rawhttp\ndef run(request): return request.method")
    assert isinstance(entry.signature, RawSignature)


def test_a_driver_is_passed_over(load_script: Load) -> None:
    entry = load_script(
        "import driven as driver_module\ndef run(body): ...",
        **{"driven.py": "def run(data): return 'driven'"},
    )
    assert entry.run("x") == "driven"


def test_both_decorators_end_the_start(load_script: Load) -> None:
    with pytest.raises(StartFailed) as failed:
        load_script(IMPORTS + "@rawhttp\n@input_schema('a', Type(1))\ndef run(a): ...")
    assert failed.value.cause.code == NO_RUN_FUNCTION
    assert "both `@rawhttp` and `@input_schema`" in failed.value.cause.message


def test_a_part_that_is_not_there_is_named(load_script: Load) -> None:
    with pytest.raises(StartFailed) as failed:
        load_script("import azureml.train\ndef run(data): ...")
    assert failed.value.cause.code == IMPORT_FAILED
    assert "azureml.train" in failed.value.cause.message


def test_what_the_original_set_is_set(load_script: Load, tmp_path: Path) -> None:
    load_script("def run(data): ...")
    assert os.environ["AML_APP_ROOT"] == str(tmp_path / "code")
    assert os.environ["AZUREML_ENTRY_SCRIPT"] == "score.py"
    assert os.environ["SERVICE_NAME"] == "flowers"


def test_what_the_service_sets_wins(load_script: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_NAME", "mine")
    load_script("def run(data): ...")
    assert os.environ["SERVICE_NAME"] == "mine"


def test_models_are_found_by_name(load_script: Load, tmp_path: Path) -> None:
    entry = load_script(
        "from azureml.core.model import Model\n"
        "def init():\n"
        "    global path\n"
        "    path = Model.get_model_path('iris')\n"
        "def run(data): return path"
    )
    assert entry.run("x") == str(tmp_path / "models" / "iris" / "3" / "weights.txt")


def test_a_schema_file_gives_parameters(load_script: Load) -> None:
    number = {"type": "integer", "format": "int64", "example": 1}
    inputs = {name: {"type": 0, "swagger": number} for name in ("a", "b")}
    entry = load_script(
        "def run(a, b): return a + b",
        **{"service_schema.json": json.dumps({"input": inputs})},
    )
    assert entry.signature.input_schema["properties"].keys() == {"a", "b"}
