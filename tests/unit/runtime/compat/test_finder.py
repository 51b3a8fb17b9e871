"""Names of the original: served to whoever imports them, unless the real package is there."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import pytest
from tests.unit.runtime.compat.conftest import Provide

from modelyard_runtime import compat
from modelyard_runtime.compat.finder import STAND_INS, Finder


@pytest.mark.parametrize("name", STAND_INS)
def test_every_name_can_be_imported(name: str, provide: Provide) -> None:
    module = importlib.import_module(name)
    assert all(hasattr(module, attribute) for attribute in STAND_INS[name].names)


def test_every_package_of_a_name_is_there() -> None:
    for name in STAND_INS:
        parent = name.rpartition(".")[0]
        assert not parent or STAND_INS[parent].package, name


def test_a_real_package_is_used_as_it_is(
    provide: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "inference_schema"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("real = True")
    (package / "schema_util.py").write_text("real = True")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert importlib.import_module("inference_schema").real
    assert importlib.import_module("inference_schema.schema_util").real


def test_what_a_real_package_lacks_is_added(
    provide: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "azureml").mkdir(parents=True)
    (tmp_path / "site" / "azureml" / "__init__.py").write_text("real = True")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    module = importlib.import_module("azureml.contrib.services.aml_response")
    assert module.AMLResponse("x", 200).status_code == 200
    assert importlib.import_module("azureml").real


def test_other_parts_of_the_original_are_named(provide: Provide) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"azureml\.train.*add the package"):
        importlib.import_module("azureml.train")


def test_other_names_of_the_original_are_named(provide: Provide) -> None:
    with pytest.raises(ImportError, match=r"`azureml\.core\.Workspace` is not here"):
        exec("from azureml.core import Workspace")


def test_modules_can_be_imported_from_their_package(provide: Provide) -> None:
    names: dict[str, Any] = {}
    exec("from azureml.contrib.services import aml_request\nfrom azureml import core", names)
    assert names["aml_request"].__name__ == "azureml.contrib.services.aml_request"
    assert names["core"].__name__ == "azureml.core"


def test_everything_can_be_imported_at_once(provide: Provide) -> None:
    names: dict[str, Any] = {}
    exec("from azureml.contrib.services.aml_response import *", names)
    assert names["AMLResponse"](None, 200).data == b"{}"


def test_other_packages_are_not_ours(provide: Provide) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'nothing_such'$"):
        importlib.import_module("nothing_such")


def test_joblib_is_found_where_it_was(provide: Provide) -> None:
    old = importlib.import_module("sklearn.externals.joblib")
    assert old is joblib
    assert joblib.__spec__.name == "joblib"
    pickle = importlib.import_module("sklearn.externals.joblib.numpy_pickle")
    assert pickle is sys.modules["joblib.numpy_pickle"]


def test_only_one_finder_is_there_however_often(provide: Provide) -> None:
    provide(iris_1=["a"])
    assert [type(finder) for finder in sys.meta_path].count(Finder) == 1
    assert isinstance(sys.meta_path[-1], Finder)


class TestDriver:
    def test_the_driven_run_is_called(self) -> None:
        driver, driven = ModuleType("driver"), ModuleType("driven")
        run: Any = lambda data: data  # noqa: E731
        driver.__dict__.update(run=None, driver_module=driven)
        driven.__dict__.update(run=run)
        assert compat.run_of(driver) is run

    def test_a_name_alone_makes_no_driver(self) -> None:
        module = ModuleType("score")
        module.__dict__.update(run=len, driver_module="text")
        assert compat.run_of(module) is len
