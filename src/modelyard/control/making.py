"""Makes one image: its environment, its layers and its check; on demand in a faster form.

Called by `control.images` for every build. Nothing here is remembered but layers and locks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from modelyard.domain.image import CheckReport, Layer, Manifest
from modelyard.domain.model import Model, ModelFormat
from modelyard.domain.optimization import Footprint, Optimization
from modelyard.domain.signature import Signature
from modelyard.errors import BuildFailed, InvalidRequest
from modelyard.images.bases.ground import Ground
from modelyard.images.builder import ImageBuilder, Log
from modelyard.images.environment import Lock
from modelyard.images.launch import why_unsuitable
from modelyard.images.optimizing import Conversion
from modelyard.schemas import BuildImage

_SERVING = "onnxruntime"
_TOOLS = ("skl2onnx", _SERVING)
_BOOSTER_TOOLS = (*_TOOLS, "onnxmltools")
_PICKLES = (ModelFormat.PICKLE, ModelFormat.JOBLIB, ModelFormat.SKOPS)
_BOOSTERS = (ModelFormat.XGBOOST, ModelFormat.LIGHTGBM)


class Made(NamedTuple):
    """An image that was built and checked."""

    manifest: Manifest
    signature: Signature
    lock: Lock
    report: CheckReport | None
    """Null: it cannot be started on this host."""
    optimization: Optimization | None = None


def check_optimizable(request: BuildImage, model: Model | None) -> None:
    """Refuse a build that is to be optimized and cannot be.

    Raises:
        InvalidRequest: There is a script, or the model is of no kind that is converted.
    """
    if not request.optimize:
        return
    if model is None:
        raise InvalidRequest(
            "an image with a scoring script cannot be optimized: only the script knows what it "
            "does",
            hint="build it without a script, so that the model is served by its own methods",
        )
    if model.format not in (*_PICKLES, *_BOOSTERS):
        raise InvalidRequest(
            f"model `{model.reference}` cannot be optimized: its format is `{model.format}`",
            hint="models of scikit-learn, XGBoost and LightGBM can be; build this without optimize",
        )


class Maker:
    """Makes one image.

    Args:
        builder: Builds the parts.
        environment: The lock of requirement lines and its layer.
        hold: Keeps blobs that nothing refers to yet, by digest, with their sizes.
        request: What was asked for.
        models: The models to put inside.
        ground: What it stands on.
        sample: What the check scores, or None.
        log: Takes the lines of the build log.
    """

    def __init__(
        self,
        builder: ImageBuilder,
        environment: Callable[[Sequence[str]], tuple[Lock, Layer]],
        hold: Callable[[Mapping[str, int]], None],
        request: BuildImage,
        models: Sequence[Model],
        ground: Ground,
        sample: JsonValue,
        log: Log,
    ) -> None:
        self._builder = builder
        self._environment = environment
        self._hold = hold
        self._request = request
        self._models = models
        self._ground = ground
        self._sample = sample
        self._log = log

    def make(self, requirements: Sequence[str], files: Mapping[str, bytes] | None = None) -> Made:
        """The image as it was asked for; with `files`, those in place of the model's own.

        Raises:
            BuildFailed: It cannot be built or does not pass its check.
        """
        return self._make(*self._environment(requirements), files)

    def make_optimized(self, requirements: Sequence[str]) -> Made:
        """The image with a faster form of its model, if there is one that answers the same.

        Raises:
            BuildFailed: It cannot be built or does not pass its check.
        """
        made = self._optimize(requirements)
        assert made.optimization is not None
        for line in made.optimization.lines():
            self._log(line, "optimize")
        return made

    def _optimize(self, requirements: Sequence[str]) -> Made:
        self._log("looking for a faster form of the model", "optimize")
        tools = _tools(self._models[0])
        try:
            lock, environment = self._environment((*requirements, *tools))
        except BuildFailed as error:
            problem = f"the converters cannot be installed beside it: {error.message}"
            return self._keep(requirements, Optimization(problem=problem))
        plain = self._make(lock, environment)
        if plain.report is None:
            problem = "a faster form can be looked for only where the image can be started"
            return self._keep(requirements, Optimization(problem=problem))
        try:
            found = self._builder.optimize(plain.manifest, plain.signature, self._sample, self._log)
        except BuildFailed as error:
            problem = f"the search failed: {error.message}"
            return self._keep(requirements, Optimization(problem=problem))
        return self._serve(found, plain, requirements)

    def _serve(self, found: Conversion, plain: Made, requirements: Sequence[str]) -> Made:
        """The form that was kept, if one was and it passes the check."""
        if found.files is None:
            return self._keep(requirements, found.optimization)
        try:
            made = self.make((_pinned(plain.lock),), found.files)
        except BuildFailed as error:
            problem = f"the image did not pass its check with it: {error.message}"
            given_up = found.optimization.model_copy(update={"kept": None, "problem": problem})
            return self._keep(requirements, given_up)
        assert plain.report is not None
        assert made.report is not None  # for the same host as the plain one
        starts = {"original": _footprint(plain.report), "optimized": _footprint(made.report)}
        return made._replace(optimization=found.optimization.model_copy(update=starts))

    def _make(
        self, lock: Lock, environment: Layer, files: Mapping[str, bytes] | None = None
    ) -> Made:
        manifest = self._builder.assemble(
            self._request, self._models, self._ground, lock, environment, self._log, files
        )
        described = self._builder.describe(
            self._request.name, manifest, lock, self._models, self._log, files
        )
        self._hold({**manifest.stored, described.digest: described.size})
        signature = self._builder.sign(manifest, described.digest, self._log)
        return Made(manifest, signature, lock, self._check(manifest, signature))

    def _check(self, manifest: Manifest, signature: Signature) -> CheckReport | None:
        if (unsuitable := why_unsuitable(manifest)) is not None:
            self._log(f"not checked: {unsuitable.message}")
            return None
        return self._builder.check(
            manifest, signature, self._sample, self._log, self._request.network
        )

    def _keep(self, requirements: Sequence[str], optimization: Optimization) -> Made:
        """The model as it is, without the converters."""
        return self.make(requirements)._replace(optimization=optimization)


def _tools(model: Model) -> tuple[str, ...]:
    boosts = model.format in _BOOSTERS or model.framework in ("xgboost", "lightgbm")
    return _BOOSTER_TOOLS if boosts else _TOOLS


def _pinned(lock: Lock) -> str:
    """What serves the kept form, as it was when the form was compared."""
    version = next(package.version for package in lock.packages if package.name == _SERVING)
    return f"{_SERVING}=={version}"


def _footprint(report: CheckReport) -> Footprint:
    return Footprint(cold_start=report.cold_start, memory=report.memory)
