"""Loads what is served: a scoring script as its author expects it, or a model without one."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any, cast

from modelyard_runtime import causes, compat, signatures, status
from modelyard_runtime.causes import Scene, StartFailed
from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.request_headers import PARAMETER as HEADERS
from modelyard_runtime.signatures.hints import function_of

_FRAMEWORKS = "modelyard_runtime.frameworks"  # imported only to serve a model without a script
_NO_REPORTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
}
"""Keeps packages from reporting their use to their makers, unless the service's variables want it.
onnxruntime has a thread for that, which would also keep the loaded process from being forked."""
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def load(config: Config, enter: Callable[[str], None]) -> Entry:
    """Make ready what is served: a script, imported and initialised, or a model without one.

    `enter` is told each phase.

    Raises:
        StartFailed: With the cause.
    """
    scene = Scene(
        os.path.abspath(config.code), config.script or "", config.models_root, config.network
    )
    _set_up(config, scene)
    if config.script is None:
        enter(status.INITIALISING)
        return importlib.import_module(_FRAMEWORKS).load(config.models, scene)  # type: ignore[no-any-return]
    enter(status.IMPORTING)
    os.environ.update(compat.surroundings(config))
    compat.install(config.models_root, config.models)
    module = _import(scene)
    compat.settle(config.models_root)
    entry = _entry(_run_of(module, scene), scene, config.sample)
    enter(status.INITIALISING)
    _init(module, scene)
    return entry


def _set_up(config: Config, scene: Scene) -> None:
    os.environ["AZUREML_MODEL_DIR"] = os.environ["MODELYARD_MODEL_DIR"] = config.model_dir
    os.environ.update({**_NO_REPORTS, **os.environ})
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]  # put there by `python -m`: a folder of the host, not of the script
    folder = os.path.dirname(os.path.join(scene.code, scene.script))
    sys.path[:0] = dict.fromkeys((folder, scene.code))
    os.chdir(scene.code)


def _import(scene: Scene) -> ModuleType:
    path = os.path.join(scene.code, scene.script)
    name = os.path.splitext(os.path.basename(path))[0]
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"scoring_script_{name}"
    loader = SourceFileLoader(name, path)
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = path
    try:
        loader.exec_module(module)
    except BaseException as error:  # also SystemExit: whatever it was, it ends this start
        raise StartFailed(causes.import_failed(error, scene)) from error
    return module


def _run_of(module: ModuleType, scene: Scene) -> Callable[..., Any]:
    run = compat.run_of(module)
    if run is None:
        raise StartFailed(causes.no_run_function("defines no function `run`", scene))
    if not callable(run):
        raise StartFailed(causes.no_run_function("has a `run` that is not a function", scene))
    return cast(Callable[..., Any], run)


def _entry(run: Callable[..., Any], scene: Scene, sample: Any) -> Entry:
    parameters = _parameters(run, scene)
    data = {name: one for name, one in parameters.items() if name != HEADERS}
    function = function_of(run)
    streams = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    try:
        signature = compat.signature_of(run) or signatures.signature_of(run, data, sample)
        batching = signatures.batching_of(run, data)
    except (compat.Unservable, signatures.Unreadable) as error:
        raise StartFailed(causes.no_run_function(str(error), scene)) from error
    if batching is not None and (streams or HEADERS in parameters):
        problem = f"has a `@batchable` run that {'yields' if streams else f'takes `{HEADERS}`'}"
        raise StartFailed(causes.no_run_function(problem, scene))
    return Entry(
        run,
        signature,
        scene,
        takes_headers=HEADERS in parameters,
        is_async=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        streams=streams,
        batching=batching,
    )


def _parameters(run: Callable[..., Any], scene: Scene) -> dict[str, inspect.Parameter]:
    """The parameters that can be given by name."""
    try:
        signature = inspect.signature(run)
    except (TypeError, ValueError) as error:
        problem = "has a `run` whose parameters cannot be told"
        raise StartFailed(causes.no_run_function(problem, scene)) from error
    named = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            problem = f"has a `run` whose parameter `{name}` cannot be given by name"
            raise StartFailed(causes.no_run_function(problem, scene))
        if parameter.kind not in _VARIABLE:
            named[name] = parameter
    if not named.keys() - {HEADERS}:
        raise StartFailed(causes.no_run_function("has a `run` that takes no data", scene))
    return named


def _init(module: ModuleType, scene: Scene) -> None:
    init = getattr(module, "init", None)
    if init is None:
        return
    try:
        if inspect.iscoroutinefunction(init):
            raise TypeError("`init` must not be `async def`; only `run` may be")
        init()
    except BaseException as error:
        raise StartFailed(causes.init_failed(error, scene)) from error
