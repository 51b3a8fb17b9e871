from __future__ import annotations

import pytest

from modelyard.domain.build import BuildOptions
from modelyard.domain.service_file import ModelSource, ServiceFile, parse_service_file
from modelyard.domain.values import parse_bytes
from modelyard.errors import InvalidRequest

MINIMAL = "name: digits\nmodel: model.pkl\nscript: score.py\n"


def parse(text: str) -> ServiceFile:
    return parse_service_file(text, "service.yaml")


def test_minimal() -> None:
    file = parse(MINIMAL)
    assert file.sources == (ModelSource(path="model.pkl"),)
    assert file.settings.model_fields_set == set()


def test_everything() -> None:
    file = parse(
        """
        name: digits
        models:
          - {name: digits, path: model.pkl, tags: {stage: trial}, sample_input: [[1]]}
          - iris:3
          - reference: encoder
        script: src/score.py
        files: [src/lib]
        requirements: [scikit-learn==1.9.1]
        image: digits-image
        build: {slim: true, platform: linux/arm64}
        settings: {replicas: 2, memory: 1GiB, scoring_timeout: 250ms, environment: {A: b}}
        tags: {team: x}
        """
    )
    assert [source.reference for source in file.sources] == [None, "iris:3", "encoder"]
    assert file.build == BuildOptions(slim=True, platform="linux/arm64")
    assert (file.settings.memory, file.settings.scoring_timeout) == (1 << 30, 0.25)


@pytest.mark.parametrize(
    ("text", "path", "reference"),
    [
        ("model.pkl", "model.pkl", None),
        ("iris:3", None, "iris:3"),
        ("iris", "iris", None),
        ("./iris:3", "./iris:3", None),
        ("Iris:3", "Iris:3", None),
        ("iris:0", "iris:0", None),
    ],
)
def test_short_form_of_a_model(text: str, path: str | None, reference: str | None) -> None:
    (source,) = parse(f"name: digits\nscript: score.py\nmodels: ['{text}']").sources
    assert (source.path, source.reference) == (path, reference)


def test_a_split() -> None:
    file = parse("name: digits\nsplit: {digits:1: 80%, other:12: 20}\nsettings: {replicas: 5}\n")
    assert file.split == {"digits:1": 80, "other:12": 20}
    assert list(file.split) == ["digits:1", "other:12"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a service file"),
        ("[1]", "not a service file"),
        ("name: [", "line 1"),
        ("a: b\n c: d", "line 2"),
        ("name: digits", "give a `script`, or one `model` to serve without a script"),
        (MINIMAL + "scirpt: a.py", "`scirpt`: there is no such field"),
        (MINIMAL + "build: {fast: true}", "`build.fast`: there is no such field"),
        (MINIMAL + "build: {optimize: true}", "for a model that is served without a `script`"),
        (MINIMAL + "models: [a.pkl]", "either `model` or `models`"),
        (MINIMAL + "settings: {replicas: -1}", "`settings.replicas`"),
        (MINIMAL + "settings: {memory: 1Gi}", "`settings.memory`: write a size with its unit"),
        (MINIMAL.replace("digits", "Digits"), "`name`: a service name is made of lower-case"),
        ("name: digits\nscript: s.py\nmodels: [a, b]", "each of several models needs a `name`"),
        ("name: digits\nscript: s.py\nmodel: {name: a}", "either `path` or `reference`"),
        ("name: digits\nscript: s.py\nmodel: {reference: a, name: b}", "by `reference` alone"),
        (
            "name: digits\nsplit: {a:1: 80%, b:1: 10%}",
            "`split`: shares are 100 % together, not 90 %",
        ),
        ("name: digits\nsplit: {}", "`split`: it has to have at least 1"),
        ("name: digits\nsplit: {a: 100%}", "`split`: `a` is not `name:version` of an image"),
        ("name: digits\nsplit: {a:1: 99.5, b:1: 0.5}", "`split.a:1`: "),
        ("name: digits\nsplit: {a:1: 100, b:1: 0}", "`split.b:1`: it has to be at least 1"),
        ("name: digits\nsplit: [a:1]", "`split`: "),
        (MINIMAL + "split: {a:1: 100%}", "leave out `model`, `script`"),
        ("name: digits\nsplit: {a:1: 100%}\ncanary: {steps: [10%]}", "leave out `canary`"),
        ("name: digits\nsplit: {a:1: 100%}\nreplay: {}", "leave out `replay`"),
        ("name: !!python/object/apply:os.system [true]", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=r"`service\.yaml`") as caught:
        parse(text)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("text", "size"), [("64kB", 64_000), ("512MB", 512_000_000), ("2GB", 2 * 10**9), ("1KiB", 1024)]
)
def test_sizes_are_decimal_or_binary(text: str, size: int) -> None:
    assert parse_bytes(text) == size


def test_a_size_of_another_unit_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="kB, MB, GB, KiB, MiB, GiB"):
        parse_bytes("512Mi")
