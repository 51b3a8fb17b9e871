"""Serves the original's module names from modules of ours, at the end of the import search.

Being last, it is asked only for what no installed package has: a real azureml-core or
inference-schema in the environment is used as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from modelyard_runtime.config import Model

_HERE = __name__.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class StandIn:
    """One module that a script may import."""

    source: str = ""
    """Module of ours, beside this one, that has its names; empty for a folder without names."""
    names: tuple[str, ...] = ()
    package: bool = False


_PACKAGE = StandIn(package=True)
_MODEL = ("models", ("Model",))
_REQUEST = StandIn("request", ("AMLRequest", "rawhttp"))
_RESPONSE = StandIn("response", ("AMLResponse",))
_COLLECTOR = ("collector", ("ModelDataCollector",))
_SAMPLE = StandIn("schema_files", ("DataTypes", "SampleDefinition"))
_GENERATE = StandIn("schema_files", ("generate_schema",))
_TYPES = "inference_schema.parameter_types"

STAND_INS = {
    "azureml": _PACKAGE,
    "azureml.core": StandIn(*_MODEL, package=True),
    "azureml.core.model": StandIn(*_MODEL),
    "azureml.api": _PACKAGE,
    "azureml.api.realtime": _PACKAGE,
    "azureml.api.realtime.services": _GENERATE,
    "azureml.api.schema": _PACKAGE,
    "azureml.api.schema.dataTypes": _SAMPLE,
    "azureml.api.schema.sampleDefinition": _SAMPLE,
    "azureml.contrib": _PACKAGE,
    "azureml.contrib.services": _PACKAGE,
    "azureml.contrib.services.aml_request": _REQUEST,
    "azureml.contrib.services.aml_response": _RESPONSE,
    "azureml.monitoring": StandIn(*_COLLECTOR, package=True),
    "azureml.monitoring.modeldatacollector": StandIn(*_COLLECTOR),
    "azureml.webservice_schema": _PACKAGE,
    "azureml.webservice_schema.data_types": _SAMPLE,
    "azureml.webservice_schema.sample_definition": _SAMPLE,
    "azureml.webservice_schema.schema_generation": _GENERATE,
    "azureml_inference_server_http": _PACKAGE,
    "azureml_inference_server_http.api": _PACKAGE,
    "azureml_inference_server_http.api.aml_request": _REQUEST,
    "azureml_inference_server_http.api.aml_response": _RESPONSE,
    "inference_schema": _PACKAGE,
    "inference_schema.schema_decorators": StandIn("decorators", ("input_schema", "output_schema")),
    "inference_schema.schema_util": StandIn(
        "decorators",
        (
            "get_input_schema",
            "get_output_schema",
            "get_supported_versions",
            "is_schema_decorated",
        ),
    ),
    _TYPES: _PACKAGE,
    f"{_TYPES}.abstract_parameter_type": StandIn("parameter_types", ("AbstractParameterType",)),
    f"{_TYPES}.standard_py_parameter_type": StandIn(
        "parameter_types", ("AbstractParameterType", "StandardPythonParameterType")
    ),
    f"{_TYPES}.numpy_parameter_type": StandIn("numpy_type", ("NumpyParameterType",)),
    f"{_TYPES}.pandas_parameter_type": StandIn("pandas_type", ("PandasParameterType",)),
}
"""What can be imported, by the original's name."""

_ALIASES = {"sklearn.externals.joblib": "joblib"}
"""Modules that moved: scripts and pickles know them by the name on the left."""


class Finder(MetaPathFinder):
    """Finds the stand-ins; the one for `Model` then knows the image's models."""

    def __init__(self, models_root: str, models: Sequence[Model]) -> None:
        self._models_root = models_root
        self._models = models

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a stand-in or of a module that moved.

        Raises:
            ModuleNotFoundError: It is inside a package that a stand-in takes the place of.
        """
        stand_in = STAND_INS.get(fullname)
        if stand_in is not None:
            loader = _StandInLoader(stand_in, self._models_root, self._models)
            return ModuleSpec(fullname, loader, is_package=stand_in.package)
        if fullname in _ALIASES:
            return ModuleSpec(fullname, _AliasLoader(_ALIASES[fullname]))
        if path == [] and fullname.partition(".")[0] in STAND_INS:
            # Without its name, or `from azureml.core import …` would hide the message.
            raise ModuleNotFoundError(_not_provided(fullname))
        return None


def _not_provided(fullname: str) -> str:
    return (
        f"`{fullname}` is not here: Modelyard stands in for the parts of the original that scoring "
        f"scripts use, and this is none of them; add the package that has it to the requirements, "
        f"or remove the import"
    )


class _StandInLoader(Loader):
    def __init__(self, stand_in: StandIn, models_root: str, models: Sequence[Model]) -> None:
        self._stand_in = stand_in
        self._models_root = models_root
        self._models = models

    def exec_module(self, module: ModuleType) -> None:
        stand_in = self._stand_in
        if not stand_in.source:
            return
        source = import_module(f"{_HERE}.{stand_in.source}")
        if stand_in.source == "models":
            source.Model.provide(self._models_root, self._models)
        for name in stand_in.names:
            setattr(module, name, getattr(source, name))


class _AliasLoader(Loader):
    """Gives a module a second name, and the modules in it, so that none is imported twice."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self._name)
        self._spec, self._alias = module.__spec__, spec.name
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put in the one of the alias
        inside = f"{self._name}."
        for name in [name for name in sys.modules if name.startswith(inside)]:
            sys.modules[f"{self._alias}.{name.removeprefix(inside)}"] = sys.modules[name]
