"""Which file is loaded by what, and the causes of what cannot be."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from tests.unit.runtime.frameworks.served import loaded, pickled, place

from modelyard_runtime import frameworks
from modelyard_runtime.causes import Cause, Scene, StartFailed, scoring_failed
from modelyard_runtime.config import Model

MODEL = LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])
SCENE = Scene("/code", "", "/models")


def cause_of(folder: Path, format: str, framework: str | None = None) -> Cause:
    with pytest.raises(StartFailed) as failed:
        loaded(folder, format, framework)
    return failed.value.cause


class TestFile:
    def test_the_only_one_may_have_any_name(self, tmp_path: Path) -> None:
        joblib.dump(MODEL, place(tmp_path, "model"))
        assert loaded(tmp_path, "joblib").score(np.eye(4).tolist()) == [0, 1, 0, 1]

    @pytest.mark.parametrize("name", ["m.joblib", "M.PKL", "m.pkl.gz"])
    def test_of_several_is_found_by_its_ending(self, tmp_path: Path, name: str) -> None:
        joblib.dump(MODEL, place(tmp_path, name))
        place(tmp_path, "README.md").write_text("hello")
        place(tmp_path, ".hidden.joblib").write_text("hello")
        assert loaded(tmp_path, "joblib").score([[1, 0, 0, 0]]) == [0]

    def test_two_that_could_be_it_are_one_too_many(self, tmp_path: Path) -> None:
        for name in ("a.pkl", "b.pkl", "notes.txt"):
            place(tmp_path, name).write_bytes(pickle.dumps(MODEL))
        cause = cause_of(tmp_path, "pickle")
        assert cause.code == "needs_script"
        assert "several files" in cause.message
        assert cause.evidence == ("in the model: a.pkl", "in the model: b.pkl")

    def test_none_that_could_be_it_is_too_few(self, tmp_path: Path) -> None:
        for name in ("a.md", "b.md"):
            place(tmp_path, name).write_text("hello")
        cause = cause_of(tmp_path, "onnx")
        assert "no file" in cause.message
        assert cause.evidence == ("in the model: a.md", "in the model: b.md")


class TestCause:
    @pytest.mark.parametrize("format", ["custom", "safetensors", None])
    def test_of_a_format_without_adapter(self, tmp_path: Path, format: Any) -> None:
        place(tmp_path, "m").touch()
        cause = cause_of(tmp_path, format)
        assert cause.code == "needs_script"
        assert "--script" in cause.fix

    @pytest.mark.parametrize("count", [0, 2])
    def test_of_not_exactly_one_model(self, count: int) -> None:
        models = [Model("a", "1", "a/1", "onnx")] * count
        with pytest.raises(StartFailed, match=f"this one holds {count}"):
            frameworks.load(models, SCENE)

    @pytest.mark.parametrize("value", [{"weights": [1, 2]}, [1, 2], "text"])
    def test_of_an_object_that_cannot_score(self, tmp_path: Path, value: Any) -> None:
        with pytest.raises(StartFailed) as failed:
            pickled(tmp_path, value)
        assert failed.value.cause.code == "needs_script"

    @pytest.mark.parametrize(
        ("data", "code", "said"),
        [
            (b"\x80\x04cnot_installed\nModel\n.", "package_missing", "`not_installed`"),
            (b"\x80\x04csklearn.svm\nNoSuchModel\n.", "model_not_loaded", "NoSuchModel"),
            (b"\x80\x04garbage", "model_not_loaded", "UnpicklingError"),
            (b"", "model_not_loaded", "EOFError"),
            (b"\x80\x04csys\nexit\n(K\x07tR.", "model_not_loaded", "SystemExit: 7"),
        ],
    )
    def test_of_a_pickle_that_does_not_load(
        self, tmp_path: Path, data: bytes, code: str, said: str
    ) -> None:
        place(tmp_path, "m.pkl").write_bytes(data)
        cause = cause_of(tmp_path, "pickle", "scikit-learn")
        assert (cause.code, said in cause.message) == (code, True)
        assert str(tmp_path) not in cause.message

    def test_of_an_onnx_file_that_is_none(self, tmp_path: Path) -> None:
        place(tmp_path, "m.onnx").write_bytes(b"garbage")
        cause = cause_of(tmp_path, "onnx")
        assert cause.code == "model_not_loaded"
        assert str(tmp_path) not in cause.message

    def test_of_a_package_that_the_image_lacks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(sys.modules, "modelyard_runtime.frameworks.onnx", raising=False)
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        place(tmp_path, "m.onnx").touch()
        cause = cause_of(tmp_path, "onnx")
        assert cause.code in ("package_missing", "model_not_loaded")
        assert "onnxruntime" in cause.message


def test_another_version_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = sklearn.__version__.encode()
    older = pickle.dumps(MODEL).replace(bytes([len(here)]) + here, b"\x051.2.0")
    place(tmp_path, "m.pkl").write_bytes(older)
    assert loaded(tmp_path, "pickle").score([[1, 0, 0, 0]]) == [0]
    (line,) = capsys.readouterr().err.splitlines()
    assert f"saved by scikit-learn 1.2.0, and the image has {sklearn.__version__}" in line
    assert line.endswith("require scikit-learn==1.2.0 to be sure")


def test_the_entry_says_which_model_it_is(tmp_path: Path) -> None:
    entry = pickled(tmp_path, MODEL).entry
    assert (entry.model_name, entry.model_versions) == ("flowers", ("3",))


def test_a_model_that_raises_is_not_blamed_on_a_script() -> None:
    cause = scoring_failed(RuntimeError("no memory"), SCENE)
    assert cause.message == "The model raised RuntimeError: no memory."
    assert "run()" not in cause.fix
