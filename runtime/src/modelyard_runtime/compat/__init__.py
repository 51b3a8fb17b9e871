"""Lets scoring scripts written for Azure Machine Learning's SDK v1 run as they are.

Loading calls `install` before it imports a script, which then finds the names it was written with,
`settle` when the script is imported, and `signature_of` to learn what its `run` takes. A script
that uses none of those names pays for none of this: stand-ins are imported by their names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from modelyard_runtime.compat.finder import Finder
from modelyard_runtime.config import Config, Model
from modelyard_runtime.signature import Signature

RAW = "__modelyard_raw__"
"""Attribute of a function that `@rawhttp` was put on."""
SCHEMA_FILES = (
    "service_schema.json",
    "schema.json",
    "outputs/service_schema.json",
    "outputs/schema.json",
)
"""Where a schema file may lie below the folder of the code."""
SCHEMAS = "__modelyard_schemas__"
"""Attribute of a function that `@input_schema` or `@output_schema` was put on."""

_RAW_MODULES = (
    "azureml.contrib.services.aml_request",
    "azureml_inference_server_http.api.aml_request",
)
_REAL_SCHEMAS = "inference_schema.schema_util"
_REAL_MODEL = "azureml.core.model"


class Unservable(Exception):
    """A script's `run` cannot be called with requests; the message goes on from `score.py …`."""


def install(models_root: str, models: Sequence[Model]) -> None:
    """Serve the names of the original from now on, wherever the real package is not installed.

    Args:
        models_root: Folder of the image's models, `<name>/<version>/…`.
        models: The image's models.
    """
    for finder in [known for known in sys.meta_path if isinstance(known, Finder)]:
        sys.meta_path.remove(finder)
    sys.meta_path.append(Finder(models_root, models))


def surroundings(config: Config) -> dict[str, str]:
    """Environment variables that the original set and its scripts read; those set already win."""
    folder, script = os.path.split(config.script or "")
    known = {
        "AML_APP_ROOT": os.path.abspath(config.code),
        "AZUREML_SOURCE_DIRECTORY": folder or ".",
        "AZUREML_ENTRY_SCRIPT": script,
        "SERVICE_NAME": config.service,
    }
    return {name: value for name, value in known.items() if name not in os.environ}


def settle(models_root: str) -> None:
    """Show an installed azureml-core, if the script has imported one, where the models are."""
    module: Any = sys.modules.get(_REAL_MODEL)
    if hasattr(module, "MODELS_DIR"):
        module.MODELS_DIR = models_root


def run_of(module: ModuleType) -> Any:
    """The `run` of a script; of the script it drives, when it is a generated driver of another."""
    driven = getattr(module, "driver_module", None)
    if isinstance(driven, ModuleType) and hasattr(driven, "run"):
        return driven.run
    return getattr(module, "run", None)


def signature_of(run: Callable[..., Any]) -> Signature | None:
    """What a `run` takes that has one of the original's decorators; None for any other.

    The working directory is that of the code: a schema file of 2018 in it counts as a decorator.

    Raises:
        Unservable: It has decorators that exclude each other.
    """
    raw, decorated = _is_raw(run), _is_decorated(run)
    if raw and decorated:
        raise Unservable("has a `run` decorated with both `@rawhttp` and `@input_schema`")
    if raw:
        return _signatures("raw").RawSignature(run)  # type: ignore[no-any-return]
    if decorated:
        return _signatures("decorated").DecoratedSignature(run)  # type: ignore[no-any-return]
    if any(map(os.path.exists, SCHEMA_FILES)):
        return _signatures("schema_files").signature_beside(run)  # type: ignore[no-any-return]
    return None


def _is_raw(run: Callable[..., Any]) -> bool:
    if hasattr(run, RAW):
        return True
    modules = (sys.modules.get(name) for name in _RAW_MODULES)
    return any(getattr(module, "_rawHttpRequested", False) for module in modules)


def _is_decorated(run: Callable[..., Any]) -> bool:
    if hasattr(run, SCHEMAS):
        return True
    real = sys.modules.get(_REAL_SCHEMAS)
    return real is not None and bool(real.is_schema_decorated(run))


def _signatures(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
