"""Why a model without a script does not start: typed causes, and warnings that can be read."""

from __future__ import annotations

import os
from collections.abc import Sequence

from modelyard_runtime import causes
from modelyard_runtime.causes import Cause, Scene, StartFailed
from modelyard_runtime.config import Model

_MOST_FILES = 20
_LONGEST = 500


class Unservable(Exception):
    """An adapter cannot serve what it found; the message says why, without a full stop."""


def needs_script(model: Model, problem: str) -> Cause:
    """The model is none that can be served as it is."""
    return Cause(
        causes.NEEDS_SCRIPT,
        f"The model {_name(model)} cannot be served without a scoring script: {problem}.",
        (),
        "Build the image with a scoring script (--script) that loads the model and calls it.",
    )


def not_one(models: Sequence[Model]) -> Cause:
    """An image without a script serves one model."""
    return Cause(
        causes.NEEDS_SCRIPT,
        f"An image without a scoring script serves one model; this one holds {len(models)}.",
        tuple(f"in the image: {_name(model)}" for model in models[:_MOST_FILES]),
        "Build one image for each model, or one with a scoring script (--script).",
    )


def ambiguous(model: Model, folder: str, found: Sequence[str]) -> StartFailed:
    """Not exactly one file of the model is one that its framework could load."""
    present = found or _files(folder)
    which = "several files that could be it" if found else "no file that could be it"
    cause = Cause(
        causes.NEEDS_SCRIPT,
        f"The model {_name(model)} is registered as `{model.format}`, but has {which}.",
        tuple(f"in the model: {file}" for file in present[:_MOST_FILES]),
        "Register the one file that is the model, or build the image with a scoring script "
        "(--script) that knows what to load.",
    )
    return StartFailed(cause)


def not_loaded(error: BaseException, model: Model, scene: Scene) -> Cause:
    """Reading the model failed."""
    if isinstance(error, Unservable):
        return needs_script(model, str(error))
    missing = causes.package_missing(error, scene)
    if missing is not None:
        return missing
    text = str(error).replace(scene.models_root + os.sep, "")
    first = text.partition("\n")[0].rstrip(".")[:_LONGEST]
    said = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return Cause(
        causes.MODEL_NOT_LOADED,
        f"The model {_name(model)} could not be loaded: {said}.",
        scene.evidence(error),
        _fix(error, model),
    )


def readable(warning: Warning | str) -> str:
    """What was warned of during a load, in one line; both versions where versions differ."""
    saved = getattr(warning, "original_sklearn_version", None)
    if saved is not None:
        here = getattr(warning, "current_sklearn_version", "another version")
        return (
            f"the model was saved by scikit-learn {saved}, and the image has {here}: its answers "
            f"may differ; require scikit-learn=={saved} to be sure"
        )
    return " ".join(str(warning).split())[:_LONGEST]


def _fix(error: BaseException, model: Model) -> str:
    if isinstance(error, AttributeError | ModuleNotFoundError):
        return (
            "The file names code that the image does not have: add it (--file), require the "
            "version that saved the model, or build with a scoring script (--script)."
        )
    version = f" with the version of {model.framework} that is in the image" * bool(model.framework)
    return f"Load the file where it was made, save it again{version}, and register that."


def _files(folder: str) -> list[str]:
    found = [
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(folder)
        for name in names
    ]
    return sorted(found)


def _name(model: Model) -> str:
    return f"`{model.name}:{model.version}`"
