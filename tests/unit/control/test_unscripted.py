"""Which models are served without a script, and what is installed for them."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from uuid import uuid4

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from modelyard.control.unscripted import Derived, derive_requirements, describe, only_model
from modelyard.domain.model import Model, ModelFile, ModelFormat
from modelyard.errors import InvalidRequest


def model(format: str, framework: str | None = None, version: str | None = None) -> Model:
    return Model(
        id=uuid4(),
        workspace="default",
        name="iris",
        version=1,
        format=ModelFormat(format),
        framework=framework,
        framework_version=version,
        files=(),
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        created_by="owner",
    )


def derived(model: Model, files: dict[str, bytes] | None = None) -> Derived:
    contents = files or {"model.bin": b""}
    digests = {f"sha256:{number:064x}": data for number, data in enumerate(contents.values())}
    found = [
        ModelFile(path=path, digest=digest, size=len(data))
        for path, (digest, data) in zip(contents, digests.items(), strict=True)
    ]
    return derive_requirements(
        model.model_copy(update={"files": tuple(found)}),
        lambda digest, offset, length: digests[digest][offset : offset + length],
    )


class TestOnlyModel:
    @pytest.mark.parametrize(
        ("format", "framework"),
        [
            ("joblib", "scikit-learn"),
            ("pickle", "xgboost"),
            ("pickle", "lightgbm"),
            ("skops", "scikit-learn"),
            ("onnx", "onnx"),
            ("onnx", "pytorch"),
            ("xgboost", "xgboost"),
            ("lightgbm", "lightgbm"),
            ("torchscript", "pytorch"),
            ("torch_export", "pytorch"),
            ("keras", "keras"),
            ("mlflow", None),
        ],
    )
    def test_is_accepted(self, format: str, framework: str | None) -> None:
        one = model(format, framework)
        assert only_model([one]) is one

    @pytest.mark.parametrize(
        ("format", "framework", "said", "fix"),
        [
            ("custom", None, "its format is not known", "--script"),
            ("safetensors", "pytorch", "safetensors hold weights", "--script"),
            ("pickle", "pytorch", "holds weights", "torch.export.save"),
            ("pickle", None, "nothing says what made it", "--framework scikit-learn"),
            ("joblib", "statsmodels", "pickles of `statsmodels`", "--script"),
        ],
    )
    def test_is_refused(self, format: str, framework: str | None, said: str, fix: str) -> None:
        with pytest.raises(InvalidRequest, match=said) as refused:
            only_model([model(format, framework)])
        assert fix in refused.value.hint

    @pytest.mark.parametrize(("count", "said"), [(0, "none is given"), (2, "2 are given")])
    def test_is_one(self, count: int, said: str) -> None:
        with pytest.raises(InvalidRequest, match=said):
            only_model([model("onnx")] * count)


class TestRequirements:
    @pytest.mark.parametrize(
        ("format", "framework", "version", "lines"),
        [
            ("pickle", "scikit-learn", "1.9.1", ("scikit-learn==1.9.1",)),
            ("pickle", "scikit-learn", None, ("scikit-learn",)),
            ("pickle", "scikit-learn", "the newest", ("scikit-learn",)),
            ("pickle", "lightgbm", "4.7.0", ("scikit-learn", "lightgbm==4.7.0")),
            ("lightgbm", "lightgbm", "4.7", ("lightgbm==4.7",)),
            ("onnx", "scikit-learn", "1.9.1", ("onnxruntime",)),
            ("torchscript", "pytorch", "2.13.0+cpu", ("torch==2.13.0", "numpy")),
            ("keras", "keras", "3.1", ("keras==3.1", "jax")),
        ],
    )
    def test_are_those_of_the_framework(
        self, format: str, framework: str, version: str | None, lines: tuple[str, ...]
    ) -> None:
        one = model(format, framework, version)
        assert derived(one).lines == lines

    def test_are_also_those_of_what_a_pickle_names(self) -> None:
        frame = pd.DataFrame({"colour": ["red", "blue"]})
        encoder = make_column_transformer((OneHotEncoder(), ["colour"]))
        pipeline = make_pipeline(encoder, LogisticRegression()).fit(frame, [0, 1])
        lines = derived(model("pickle", "scikit-learn"), {"m.pkl": pickle.dumps(pipeline)}).lines
        assert lines == ("scikit-learn", "pandas")

    def test_are_those_that_an_mlflow_model_brings(self) -> None:
        files = {"MLmodel": b"", "requirements.txt": b"mlflow==3.17.2\nscikit-learn==1.9.1\n# x\n"}
        found = derived(model("mlflow", "scikit-learn"), files)
        assert found.lines == ("scikit-learn==1.9.1", "pyyaml", "pandas")
        assert "requirements.txt" in found.note

    def test_have_mlflow_where_nothing_else_loads_the_model(self) -> None:
        files = {"m/MLmodel": b"", "m/requirements.txt": b"mlflow==3.17.2\n"}
        assert derived(model("mlflow", "prophet"), files).lines == (
            "mlflow==3.17.2",
            "pyyaml",
            "pandas",
        )
        assert "mlflow" in derived(model("mlflow", None)).lines
        assert "mlflow" in derived(model("mlflow", "pytorch")).lines

    def test_of_an_mlflow_model_must_be_lockable(self) -> None:
        files = {"MLmodel": b"", "requirements.txt": b"-e ."}
        with pytest.raises(InvalidRequest, match=r"`requirements.txt` line 1.*not accepted"):
            derived(model("mlflow", "scikit-learn"), files)

    def test_are_told(self) -> None:
        text = describe(Derived(("scikit-learn==1.9.1", "pandas"), "what the joblib model needs"))
        assert "adding what the joblib model needs: scikit-learn==1.9.1, pandas" in text
        assert "any version of pandas" in text
