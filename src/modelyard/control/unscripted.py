"""Models that are served without a scoring script: which can be, and what they need installed.

Called by `control.images` before anything is built. The runtime's part is
`modelyard_runtime.frameworks`. Files are hostile: every look is bounded, and nothing is loaded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from modelyard.control.formats import ReadRange, named_packages
from modelyard.domain.model import Model, ModelFile, ModelFormat
from modelyard.domain.requirements import read_requirements
from modelyard.errors import InvalidRequest

_XGBOOST = "xgboost-cpu" if sys.platform == "linux" else "xgboost"
"""On Linux the usual distribution brings 300 MB for graphics cards, which replicas do not use."""
_PICKLES = frozenset({ModelFormat.PICKLE, ModelFormat.JOBLIB})
_PICKLED = {
    "scikit-learn": "scikit-learn",
    "imbalanced-learn": "imbalanced-learn",
    "xgboost": _XGBOOST,
    "lightgbm": "lightgbm",
}
"""What is installed for the frameworks whose pickled objects are served."""
_NAMED = {
    "sklearn": "scikit-learn",
    "imblearn": "imbalanced-learn",
    "xgboost": _XGBOOST,
    "lightgbm": "lightgbm",
    "pandas": "pandas",
    "joblib": "joblib",
}
"""What is installed for the packages that a pickle names."""
_BY_COLUMN = (
    "sklearn.compose",
    "sklearn.preprocessing._encoders",
    "sklearn.preprocessing._function_transformer",
    "sklearn.preprocessing._target_encoder",
)
"""Modules whose objects tell columns apart by name or type, which takes a data frame."""
_FORMATS = {
    ModelFormat.ONNX: ("onnxruntime",),
    ModelFormat.XGBOOST: (_XGBOOST,),
    ModelFormat.LIGHTGBM: ("lightgbm",),
    ModelFormat.TORCHSCRIPT: ("torch", "numpy"),
    ModelFormat.TORCH_EXPORT: ("torch", "numpy"),
    ModelFormat.KERAS: ("keras", "jax"),
    ModelFormat.SKOPS: ("skops", "scikit-learn", "pandas"),
}
_FLAVORS = {
    "scikit-learn": ("scikit-learn",),
    "onnx": ("onnxruntime",),
    "xgboost": (_XGBOOST, "scikit-learn"),
    "lightgbm": ("lightgbm", "scikit-learn"),
    "keras": ("keras", "jax"),
}
"""MLflow's flavours that are loaded without MLflow itself, by the framework they are of."""
_MLFLOW_READER = ("pyyaml", "pandas")
_MLFLOW_ONLY = frozenset({"mlflow", "mlflow-skinny"})
_LARGEST_REQUIREMENTS = 64 << 10
_PINNED_BY = {
    ModelFormat.XGBOOST: _XGBOOST,
    ModelFormat.LIGHTGBM: "lightgbm",
    ModelFormat.TORCHSCRIPT: "torch",
    ModelFormat.TORCH_EXPORT: "torch",
    ModelFormat.KERAS: "keras",
    ModelFormat.SKOPS: "scikit-learn",
}
"""The package that `framework_version` is a version of, by format."""
_HINT = "give a scoring script (--script) that loads the model and calls it"


class Derived(NamedTuple):
    """Requirement lines that nobody wrote, and where they come from."""

    lines: tuple[str, ...]
    note: str


def only_model(models: Sequence[Model]) -> Model:
    """The one model that an image without a script serves.

    Raises:
        InvalidRequest: There are none or several, or it cannot be served without a script.
    """
    if len(models) != 1:
        given = f"{len(models)} are given" if models else "none is given"
        raise InvalidRequest(
            f"an image without a scoring script serves exactly one model; {given}",
            hint="give one model, or a scoring script (--script)",
        )
    model = models[0]
    problem = _why_not(model)
    if problem is not None:
        raise InvalidRequest(
            f"model `{model.reference}` cannot be served without a scoring script: {problem[0]}",
            hint=problem[1],
        )
    return model


def derive_requirements(model: Model, read: ReadRange) -> Derived:
    """What has to be installed for a model that `only_model` has accepted."""
    if model.format is ModelFormat.MLFLOW:
        return _of_mlflow(model, read)
    if model.format in _PICKLES:
        lines = _pinned(_of_pickle(model, read), _PICKLED[model.framework or ""], model)
    else:
        lines = _pinned(_FORMATS[model.format], _PINNED_BY.get(model.format), model)
    return Derived(lines, f"what the {model.format} model needs")


def _why_not(model: Model) -> tuple[str, str] | None:
    """What is in the way and what to do about it, or None."""
    if model.format in _PICKLES:
        return _why_not_pickle(model)
    if model.format is ModelFormat.SAFETENSORS:
        return "safetensors hold weights, and not the program that uses them", _HINT
    if model.format is ModelFormat.CUSTOM:
        return "its format is not known", _HINT
    return None


def _why_not_pickle(model: Model) -> tuple[str, str] | None:
    if model.framework in _PICKLED:
        return None
    if model.framework is None:
        return (
            "nothing says what made it",
            "register it with its framework (--framework scikit-learn), or " + _HINT,
        )
    if model.framework == "pytorch":
        return (
            "a pickle of PyTorch holds weights, not the program that uses them",
            "register what `torch.export.save` or `torch.jit.save` writes, or " + _HINT,
        )
    return f"pickles of `{model.framework}` are not served so", _HINT


def _of_pickle(model: Model, read: ReadRange) -> Iterator[str]:
    """scikit-learn, whose methods are what is called, and whatever else the file names."""
    yield "scikit-learn"
    yield _PICKLED[model.framework or ""]
    for module in named_packages(model.files, read):
        package = _NAMED.get(module.partition(".")[0])
        if package is not None:
            yield package
        if module.startswith(_BY_COLUMN):
            yield "pandas"


def _of_mlflow(model: Model, read: ReadRange) -> Derived:
    """The requirements that the model brings; MLflow itself only where nothing else can load it."""
    flavor = _FLAVORS.get(model.framework or "")
    written = _written(model.files, read)
    if flavor is None:
        lines = [*written, *_MLFLOW_READER]
        if not any(_name(line) in _MLFLOW_ONLY for line in written):
            lines.append("mlflow")
    else:
        own = [line for line in written if _name(line) not in _MLFLOW_ONLY]
        lines = [*own, *_missing((*flavor, *_MLFLOW_READER), own)]
    source = "its requirements.txt" if written else f"its flavor, {model.framework}"
    return Derived(_unique(lines), f"what the MLflow model needs by {source}")


def _written(files: Iterable[ModelFile], read: ReadRange) -> tuple[str, ...]:
    """The lines of the model's own requirements.txt; none if it is not there or too large.

    Raises:
        InvalidRequest: A line is not a requirement that can be locked.
    """
    for file in files:
        path = PurePosixPath(file.path)
        if path.name == "requirements.txt" and len(path.parts) <= 2:
            if file.size > _LARGEST_REQUIREMENTS:
                return ()
            text = read(file.digest, 0, file.size).decode("utf-8", "replace")
            return read_requirements(file.path, text)
    return ()


def _missing(wanted: Iterable[str], there: Sequence[str]) -> Iterator[str]:
    """What is wanted and not there, under whatever of its names."""
    names = {_name(line) for line in there}
    if names & {"xgboost", "xgboost-cpu"}:
        names |= {"xgboost", "xgboost-cpu"}
    return (name for name in wanted if name not in names)


def _name(line: str) -> str:
    return canonicalize_name(Requirement(line).name)


def _pinned(packages: Iterable[str], framework: str | None, model: Model) -> tuple[str, ...]:
    """The packages, that of the framework in the version that made the model, if it is known."""
    version = _public(model.framework_version)
    return _unique(
        f"{name}=={version}" if version and name == framework else name for name in packages
    )


def _public(text: str | None) -> str | None:
    """A version as an index lists it: `2.13.0` of `2.13.0+cpu`; None for what is none."""
    try:
        return Version(text).public if text else None
    except InvalidVersion:
        return None


def _unique(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lines))


def describe(derived: Derived) -> str:
    """A line for the build log."""
    loose = [line for line in derived.lines if re.fullmatch(r"[\w.-]+", line)]
    text = f"no requirements were given: adding {derived.note}: {', '.join(derived.lines)}"
    if loose:
        text += f" (any version of {', '.join(loose)}: the model does not say which made it)"
    return text
