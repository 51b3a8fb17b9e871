"""The SBOM of an image, held against the published schema by the reference library."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from tests.factories import digest_of, make_manifest

from modelyard.domain.image import Base, BaseLayer, LayerKind, Manifest, Platform
from modelyard.domain.model import Imports, Model, ModelFile, ModelFormat
from modelyard.images.environment import Lock
from modelyard.images.launch import Interpreter
from modelyard.images.sbom import describe

FIRST, SECOND = "a" * 64, "b" * 64
HERE = Interpreter(Platform(os="linux", architecture="amd64"), "3.11")
LOCK = Lock(
    f"""# Python 3.11, linux/amd64
Joblib==1.5.2 \\
    --hash=sha256:{SECOND} \\
    --hash=sha256:{FIRST}
my-fork==1.0+cpu ; python_version < "3.13" \\
    --hash=sha256:{FIRST}
""",
    HERE,
)


def make_model(name: str = "iris", version: int = 3, *paths: str) -> Model:
    return Model(
        id=uuid4(),
        workspace="default",
        name=name,
        version=version,
        format=ModelFormat.JOBLIB,
        framework="scikit-learn",
        files=tuple(
            ModelFile(path=path, digest=digest_of(path), size=1) for path in paths or ("m.pkl",)
        ),
        created_at=datetime.now(UTC),
        created_by="owner",
    )


def make_based_manifest(models: list[Model]) -> Manifest:
    layer = BaseLayer(
        digest=digest_of("blob"), size=9, media_type="application/x", diff_id=digest_of("tar")
    )
    base = Base(
        origin="image", digest=digest_of("base"), python="/usr/bin/python3", layers=(layer,)
    )
    return make_manifest(models).model_copy(update={"base": base})


def parts(content: bytes) -> dict[str, dict[str, Any]]:
    return {part["bom-ref"]: part for part in json.loads(content)["components"]}


class TestDescribe:
    @pytest.mark.parametrize("converted", [None, {"model.onnx": b"graph"}])
    def test_is_what_the_schema_asks_for(self, converted: dict[str, bytes] | None) -> None:
        models = [make_model()] if converted else [make_model(), make_model("iris", 4, "a", "b/c")]
        content = describe("digits", make_based_manifest(models), LOCK, models, converted)
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode()) is None
        document = Bom.from_json(json.loads(content))
        assert document.validate()

    def test_no_image_is_too_small_for_the_schema(self) -> None:
        content = describe("digits", make_manifest(), Lock("", HERE), [])
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode()) is None

    def test_the_same_image_gives_the_same_bytes(self) -> None:
        models = [make_model(), make_model("other", 1)]
        one = describe("digits", make_manifest(models), LOCK, models)
        assert describe("digits", make_manifest(models), LOCK, models) == one
        assert b"timestamp" not in one

    def test_another_image_gets_another_serial_number(self) -> None:
        numbers = {
            json.loads(describe("digits", make_manifest(layer=layer), LOCK, []))["serialNumber"]
            for layer in ("one", "two")
        }
        assert len(numbers) == 2

    def test_packages_have_addresses_and_the_hashes_of_their_wheels(self) -> None:
        found = parts(describe("digits", make_manifest(), LOCK, []))
        joblib = found["pkg:pypi/joblib@1.5.2"]
        assert (joblib["name"], joblib["version"]) == ("joblib", "1.5.2")
        assert [one["content"] for one in joblib["hashes"]] == [FIRST, SECOND]
        assert found["pkg:pypi/my-fork@1.0%2Bcpu"]["version"] == "1.0+cpu"

    def test_models_have_the_digest_of_every_file(self) -> None:
        model = make_model("iris", 4, "b/c", "a")
        found = parts(describe("digits", make_manifest([model]), LOCK, [model]))["model:iris@4"]
        assert {file["name"]: file["hashes"][0]["content"] for file in found["components"]} == {
            path: digest_of(path).removeprefix("sha256:") for path in ("a", "b/c")
        }

    def test_models_say_what_loading_them_imports(self) -> None:
        imports = Imports(names=("numpy.ndarray", "os.system"), complete=False)
        model = make_model().model_copy(update={"imports": imports})
        found = parts(describe("digits", make_manifest([model]), LOCK, [model]))["model:iris@3"]
        named = [one["value"] for one in found["properties"] if one["name"] == "modelyard:imports"]
        assert named == ["numpy.ndarray", "os.system", "…"]

    def test_a_faster_form_names_the_model_that_it_was_made_from(self) -> None:
        model = make_model()
        content = describe("digits", make_manifest([model]), LOCK, [model], {"m.onnx": b"graph"})
        found = parts(content)["model:iris@3"]
        assert [file["name"] for file in found["components"]] == ["m.onnx"]
        (original,) = found["pedigree"]["ancestors"]
        assert [file["name"] for file in original["components"]] == ["m.pkl"]

    def test_runtime_code_and_base_are_named_by_digest(self) -> None:
        manifest = make_based_manifest([])
        found = parts(describe("digits", manifest, LOCK, []))
        for reference, kind in (("code:score.py", LayerKind.CODE), ("runtime", LayerKind.RUNTIME)):
            part = next(part for name, part in found.items() if name.startswith(reference))
            assert part["hashes"][0]["content"] == manifest.layer(kind).digest[7:]
        assert found[f"base:base@{digest_of('base')}"]["version"] == digest_of("base")

    def test_names_of_strangers_stay_text(self) -> None:
        model = make_model("iris", 1, "é ☃.pkl")
        content = describe("digits", make_manifest([model]), LOCK, [model])
        assert content.isascii()
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode()) is None


class TestPins:
    def test_are_read_with_their_hashes(self) -> None:
        assert [(pin.name, pin.version, len(pin.hashes)) for pin in LOCK.pins] == [
            ("Joblib", "1.5.2", 2),
            ("my-fork", "1.0+cpu", 1),
        ]

    def test_packages_are_the_same_without(self) -> None:
        assert [(one.name, one.version) for one in LOCK.packages] == [
            ("Joblib", "1.5.2"),
            ("my-fork", "1.0+cpu"),
        ]
