"""Where the files of a model are."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.unit.runtime.compat.conftest import Provide

from modelyard_runtime import compat
from modelyard_runtime.compat.models import Model, ModelNotFoundException


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "models")


@pytest.fixture(autouse=True)
def models(provide: Provide) -> None:
    provide(iris_1=["old.pkl"], iris_10=["new.pkl"], iris_9=["nine.pkl"], many_2=["a", "b"])
    assert importlib.import_module("azureml.core.model").Model is Model


def test_the_newest_version_is_taken(root: str) -> None:
    assert Model.get_model_path("iris") == f"{root}/iris/10/new.pkl"


def test_a_version_is_found(root: str) -> None:
    assert Model.get_model_path("iris", 1) == f"{root}/iris/1/old.pkl"
    assert Model.get_model_path("iris", version=9) == f"{root}/iris/9/nine.pkl"
    assert Model.get_model_path("iris:9") == f"{root}/iris/9/nine.pkl"


def test_several_files_are_their_folder(root: str) -> None:
    assert Model.get_model_path("many") == f"{root}/many/2"


def test_a_missing_model_lists_those_there_are() -> None:
    with pytest.raises(ModelNotFoundException) as missing:
        Model.get_model_path("rose")
    assert "`rose`; its models: iris:1, iris:10, iris:9, many:2" in str(missing.value)
    with pytest.raises(ModelNotFoundException, match="`iris` version 2"):
        Model.get_model_path("iris", 2)


def test_a_file_beside_the_script_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local.pkl").write_text("")
    monkeypatch.chdir(tmp_path)
    assert Model.get_model_path("local.pkl") == "local.pkl"


def test_a_version_is_an_integer() -> None:
    with pytest.raises(TypeError, match="version should be an int"):
        Model.get_model_path("iris", "1")  # type: ignore[arg-type]


def test_there_is_no_workspace() -> None:
    with pytest.raises(NotImplementedError, match="get_model_path"):
        Model("workspace", "iris")


def test_an_installed_azureml_core_is_shown_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModuleType("azureml.core.model")
    real.__dict__.update(MODELS_DIR="azureml-models")
    monkeypatch.setitem(sys.modules, "azureml.core.model", real)
    compat.settle("/models")
    assert real.__dict__["MODELS_DIR"] == "/models"


def test_the_stand_in_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    compat.settle("/models")
    assert not hasattr(sys.modules["azureml.core.model"], "MODELS_DIR")
