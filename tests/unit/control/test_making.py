"""How an optimized build goes: every end that a search may have; builder and search are played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import JsonValue
from tests.factories import KEY, digest_of, make_manifest

from modelyard.blobs.base import Stored
from modelyard.control.making import Maker, check_optimizable
from modelyard.domain.image import CheckReport, Layer, LayerKind, Manifest
from modelyard.domain.model import Model, ModelFile, ModelFormat
from modelyard.domain.optimization import Form, Optimization, Speed
from modelyard.domain.service import Network
from modelyard.domain.signature import Signature
from modelyard.errors import BuildFailed, InvalidRequest
from modelyard.images.bases.ground import Ground
from modelyard.images.environment import Lock
from modelyard.images.launch import current_interpreter
from modelyard.images.optimizing import Conversion
from modelyard.schemas import BuildImage

HERE = Ground(interpreter=current_interpreter(), base=None)
REQUEST = BuildImage(name="iris", models=("iris:1",), optimize=True)
PINS = "onnxruntime==1.32.0 \\\n    --hash=sha256:0\n"
FASTER = Optimization(
    kept="ONNX",
    before=Speed(single=0.05, batched=0.001),
    candidates=(Form(name="ONNX", speed=Speed(single=0.00002, batched=0.00001), threads=1),),
    threads=1,
    methods=("predict",),
    left_out=("transform",),
)


def make_model(format: ModelFormat = ModelFormat.JOBLIB, framework: str = "scikit-learn") -> Model:
    return Model(
        id=uuid4(),
        workspace="default",
        name="iris",
        version=1,
        format=format,
        framework=framework,
        files=(ModelFile(path="iris.joblib", digest=digest_of("iris"), size=4),),
        created_at=datetime.now(UTC),
        created_by="owner",
    )


class Workshop:
    """Plays the builder, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.found: Conversion | BuildFailed = Conversion(FASTER, {"model.onnx": b"graph"})
        self.interpreter = HERE.interpreter
        self.no_tools = False
        self.refuses_converted = False
        self.environments: list[tuple[str, ...]] = []
        self.assembled: list[Mapping[str, bytes] | None] = []
        self.lines: list[str] = []

    def environment(self, requirements: Sequence[str]) -> tuple[Lock, Layer]:
        if self.no_tools and "skl2onnx" in requirements:
            raise BuildFailed("they clash")
        self.environments.append(tuple(requirements))
        layer = Layer(kind=LayerKind.ENVIRONMENT, digest=digest_of("environment"), size=1)
        return Lock(PINS, HERE.interpreter), layer

    def assemble(self, *given: object) -> Manifest:
        converted = given[-1]
        assert converted is None or isinstance(converted, dict)
        self.assembled.append(converted)
        manifest = make_manifest(layer="converted" if converted else "plain")
        platform, python = self.interpreter
        return manifest.model_copy(update={"platform": platform, "python": python})

    def describe(
        self,
        name: str,
        manifest: Manifest,
        lock: Lock,
        models: Sequence[Model],
        log: object,
        converted: Mapping[str, bytes] | None,
    ) -> Stored:
        assert name == "iris"
        return Stored(digest_of(f"sbom of {manifest.digest}"), 1)

    def sign(self, manifest: Manifest, described: str, log: object) -> Signature:
        return KEY.sign(manifest.digest, described)

    def check(
        self,
        manifest: Manifest,
        signature: Signature,
        sample: JsonValue,
        log: object,
        network: Network,
    ) -> CheckReport:
        converted = self.assembled[-1] is not None
        if converted and self.refuses_converted:
            raise BuildFailed("status 422")
        return CheckReport(
            workers=2,
            cold_start=1.0 if converted else 3.0,
            memory=(1 if converted else 2) << 20,
            checked_at=datetime.now(UTC),
        )

    def optimize(
        self, manifest: Manifest, signature: Signature, sample: JsonValue, log: object
    ) -> Conversion:
        if isinstance(self.found, BuildFailed):
            raise self.found
        return self.found

    def log(self, text: str, source: str = "build") -> None:
        self.lines.append(text)

    def maker(self, model: Model | None = None) -> Maker:
        models = [model or make_model()]
        return Maker(
            self, self.environment, lambda sizes: None, REQUEST, models, HERE, [1], self.log
        )


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


NEEDS = ("scikit-learn==1.9.1",)


class TestMakeOptimized:
    def test_what_is_kept_needs_nothing_but_what_serves_it(self, workshop: Workshop) -> None:
        made = workshop.maker().make_optimized(NEEDS)
        assert workshop.environments[-1] == ("onnxruntime==1.32.0",)
        assert workshop.assembled == [None, {"model.onnx": b"graph"}]
        assert made.report.cold_start == 1.0
        assert made.signature.sbom == digest_of(f"sbom of {made.manifest.digest}")

    def test_the_gain_is_reported_with_starts_and_memory(self, workshop: Workshop) -> None:
        made = workshop.maker().make_optimized(NEEDS)
        assert made.optimization is not None
        assert made.optimization.original is not None
        assert made.optimization.optimized is not None
        assert made.optimization.original.cold_start == 3.0
        assert made.optimization.optimized.memory == 1 << 20
        assert any("2500.0 times as fast" in line for line in workshop.lines)
        assert "not offered any longer: transform" in workshop.lines

    def test_without_a_form_that_agrees_the_model_stays(self, workshop: Workshop) -> None:
        problem = "3 of 900 rows are answered differently"
        report = Optimization(candidates=(Form(name="ONNX", problem=problem),))
        workshop.found = Conversion(report, None)
        made = workshop.maker().make_optimized(NEEDS)
        assert workshop.environments[-1] == NEEDS
        assert workshop.assembled[-1] is None
        assert made.optimization == report
        assert f"ONNX: {problem}" in workshop.lines
        assert workshop.lines[-1] == "kept as it is: no form is faster and answers the same"

    def test_converters_that_do_not_fit_leave_the_model_as_it_is(self, workshop: Workshop) -> None:
        workshop.no_tools = True
        made = workshop.maker().make_optimized(NEEDS)
        assert workshop.environments == [NEEDS]
        assert made.optimization is not None
        assert "cannot be installed beside it: they clash" in made.optimization.problem

    def test_a_search_that_fails_leaves_the_model_as_it_is(self, workshop: Workshop) -> None:
        workshop.found = BuildFailed("it used too much memory")
        made = workshop.maker().make_optimized(NEEDS)
        assert workshop.environments[-1] == NEEDS
        assert made.optimization is not None
        assert "the search failed: it used too much memory" in made.optimization.problem

    def test_a_form_that_does_not_pass_the_check_is_given_up(self, workshop: Workshop) -> None:
        workshop.refuses_converted = True
        made = workshop.maker().make_optimized(NEEDS)
        assert workshop.environments[-1] == NEEDS
        assert made.optimization is not None
        assert made.optimization.kept is None
        assert "did not pass its check with it: status 422" in made.optimization.problem

    def test_boosters_need_converters_of_their_own(self, workshop: Workshop) -> None:
        workshop.maker(make_model(ModelFormat.LIGHTGBM, "lightgbm")).make_optimized(("lightgbm",))
        assert "onnxmltools" in workshop.environments[0]


class TestCheckOptimizable:
    def test_a_script_is_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="only the script knows"):
            check_optimizable(REQUEST, None)

    def test_other_formats_are_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="its format is `keras`"):
            check_optimizable(REQUEST, make_model(ModelFormat.KERAS))

    @pytest.mark.parametrize("format", ["pickle", "joblib", "skops", "xgboost", "lightgbm"])
    def test_what_has_a_converter_is_taken(self, format: str) -> None:
        check_optimizable(REQUEST, make_model(ModelFormat(format)))

    def test_nothing_is_asked_of_other_builds(self) -> None:
        check_optimizable(REQUEST.model_copy(update={"optimize": False}), None)


class TestMakeForElsewhere:
    """An image that this host cannot start is built, and not checked."""

    @pytest.fixture
    def workshop(self) -> Workshop:
        workshop = Workshop()
        workshop.interpreter = HERE.interpreter._replace(python="3.99")
        return workshop

    def test_it_is_not_checked_and_says_so(self, workshop: Workshop) -> None:
        made = workshop.maker().make(NEEDS)
        assert made.report is None
        assert "not checked: The image needs Python 3.99" in workshop.lines[-1]

    def test_a_faster_form_is_not_looked_for(self, workshop: Workshop) -> None:
        made = workshop.maker().make_optimized(NEEDS)
        assert made.report is None
        assert made.optimization is not None
        assert made.optimization.kept is None
        assert "only where the image can be started" in str(made.optimization.problem)
