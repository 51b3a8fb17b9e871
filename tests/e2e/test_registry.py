from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.e2e.conftest import BREAKABLE

import modelyard


def test_fifty_at_once_get_fifty_consecutive_versions(
    yard: modelyard.Client, tmp_path: Path
) -> None:
    def register(number: int) -> int:
        return yard.models.register(
            "crowd", io.BytesIO(f"model {number}".encode()), file_name="model.bin"
        ).version

    with ThreadPoolExecutor(50) as pool:
        versions = list(pool.map(register, range(50)))
    assert sorted(versions) == list(range(1, 51))
    yard.models.delete("crowd:50")
    assert register(50) == 51


def test_a_folder_comes_back_as_it_was(yard: modelyard.Client, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "deep" / "er" / "ünïcode.bin").write_bytes(bytes(range(256)))
    model = yard.models.register("folder", source)
    target = yard.models.download(model.reference, tmp_path / "target")
    assert (Path(target) / "a.txt").read_text() == "a"
    assert (Path(target) / "deep" / "er" / "ünïcode.bin").read_bytes() == bytes(range(256))
    with pytest.raises(modelyard.Conflict):
        yard.models.download(model.reference, tmp_path / "target")


def test_the_same_inputs_give_the_same_image_and_take_no_work(
    yard: modelyard.Client, breakable: str, tmp_path: Path
) -> None:
    image = yard.images.get(breakable)
    answer = yard.models.download(image.models[0], tmp_path / "model")
    model = yard.models.register(
        "breakable", Path(answer) / "answer.txt", sample_input={"sleep": 0}
    )
    (tmp_path / "score.py").write_text(BREAKABLE)
    again = yard.images.build("breakable", models=[image.models[0]], script=tmp_path / "score.py")
    assert again.reference == image.reference
    newer = yard.images.build("breakable", models=[model.reference], script=tmp_path / "score.py")
    assert newer.digest != image.digest  # another version of the model is another place


@pytest.mark.parametrize(
    ("requirements", "code", "named"),
    [
        (["surely-not-a-package-of-anybody"], "unknown_requirement", "surely-not-a-package"),
        (["joblib<1", "joblib>1"], "requirements_clash", "joblib"),
    ],
)
def test_requirements_that_cannot_be_met_are_named(
    yard: modelyard.Client, tmp_path: Path, requirements: list[str], code: str, named: str
) -> None:
    (tmp_path / "score.py").write_text("def run(data):\n    return data\n")
    with pytest.raises(modelyard.BuildFailed) as failed:
        yard.images.build(
            "unmet", models=[], script=tmp_path / "score.py", requirements=requirements
        )
    cause = failed.value.details["cause"]
    assert cause["code"] == code
    assert named in f"{cause['message']} {cause['evidence']}"
    assert yard.images.get("unmet").state == "Failed"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("def run(data:\n    return 1\n", modelyard.InvalidScript),
        ("def score(data):\n    return 1\n", modelyard.InvalidScript),
    ],
)
def test_a_script_that_cannot_work_is_refused_at_once(
    yard: modelyard.Client, tmp_path: Path, script: str, error: type[Exception]
) -> None:
    (tmp_path / "score.py").write_text(script)
    with pytest.raises(error):
        yard.images.build("refused", models=[], script=tmp_path / "score.py")
    with pytest.raises(modelyard.NotFound):
        yard.images.get("refused")


def test_a_model_that_cannot_load_fails_in_the_check(
    yard: modelyard.Client, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(
        "def init():\n    open('weights.bin')\n\ndef run(data):\n    return data\n"
    )
    with pytest.raises(modelyard.BuildFailed) as failed:
        yard.images.build("unloadable", models=[], script=tmp_path / "score.py")
    cause = failed.value.details["cause"]
    assert "score.py" in " ".join(cause["evidence"])
    assert "weights.bin" in f"{cause['message']} {cause['evidence']}"
