"""An image's configuration when it is started by itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from modelyard_runtime import cpus, standalone
from modelyard_runtime.config import Config, InvalidConfig, Key
from modelyard_runtime.standalone import read_image, share_processors

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "scoring.md"
MANIFEST: dict[str, Any] = {
    "schema_version": 1,
    "kind": "python",
    "script": "score.py",
    "models": [{"name": "digits", "version": 3, "path": "digits/3"}],
}


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(MANIFEST))
    return str(path)


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "usable", lambda: 6)


def test_has_defaults(manifest: str, tmp_path: Path) -> None:
    config = read_image(manifest, {})
    assert config.listen == ("*:8080",)
    assert (config.workers, config.script, config.service) == (6, "score.py", "digits")
    assert (config.code, config.models_root) == (str(tmp_path / "code"), str(tmp_path / "models"))
    assert config.model_dir == str(tmp_path / "models" / "digits" / "3")
    assert (config.keys, config.tls, config.status, config.grpc_listen) == ((), None, None, None)
    assert (config.scoring_timeout, config.max_body) == (60.0, 100 << 20)


def test_takes_every_variable(manifest: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('[{"id": "a", "hash": "b"}]')
    config = read_image(
        manifest,
        {
            "MODELYARD_HOST": "::1",
            "MODELYARD_PORT": "9000",
            "MODELYARD_GRPC_PORT": "9001",
            "MODELYARD_WORKERS": "3",
            "MODELYARD_SCORING_TIMEOUT": "2.5",
            "MODELYARD_DRAIN_TIMEOUT": "20",
            "MODELYARD_MAX_BODY": "1000",
            "MODELYARD_SERVICE": "flowers",
            "MODELYARD_KEYS_FILE": str(keys),
            "MODELYARD_TLS_CERT": "/c",
            "MODELYARD_TLS_KEY": "/k",
            "MODELYARD_TLS_CLIENT_CA": "/a",
            "MODELYARD_TLS_CRL": "/r",
        },
    )
    assert (config.listen, config.grpc_listen, config.workers) == (("[::1]:9000",), "[::1]:9001", 3)
    assert (config.scoring_timeout, config.drain_timeout, config.max_body) == (2.5, 20, 1000)
    assert (config.service, config.keys) == ("flowers", (Key("a", "b"),))
    assert config.tls is not None
    assert (config.tls.cert, config.tls.crl) == ("/c", "/r")


def test_an_empty_variable_is_not_set(manifest: str) -> None:
    assert read_image(manifest, {"MODELYARD_PORT": "", "MODELYARD_TLS_CERT": " "}) == (
        read_image(manifest, {})
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MODELYARD_PORT", "0"),
        ("MODELYARD_PORT", "65536"),
        ("MODELYARD_PORT", "http"),
        ("MODELYARD_WORKERS", "-1"),
        ("MODELYARD_WORKERS", "two"),
        ("MODELYARD_SCORING_TIMEOUT", "0"),
        ("MODELYARD_SCORING_TIMEOUT", "nan"),
        ("MODELYARD_MAX_BODY", "1MB"),
        ("MODELYARD_TLS_CERT", "/only"),
        ("MODELYARD_TLS_CLIENT_CA", "/only"),
    ],
)
def test_names_the_variable_that_is_wrong(manifest: str, name: str, text: str) -> None:
    with pytest.raises(InvalidConfig, match=name.removesuffix("_CLIENT_CA")):
        read_image(manifest, {name: text})


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1]", '[{"id": "a"}]'])
def test_a_file_without_keys_lets_nobody_in(manifest: str, tmp_path: Path, text: str) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(text)
    with pytest.raises(InvalidConfig):
        read_image(manifest, {"MODELYARD_KEYS_FILE": str(keys)})


def test_a_missing_file_of_keys(manifest: str) -> None:
    with pytest.raises(InvalidConfig, match=r"/none\.json"):
        read_image(manifest, {"MODELYARD_KEYS_FILE": "/none.json"})


def test_grpc_needs_its_package(manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidConfig, match="grpcio"):
        read_image(manifest, {"MODELYARD_GRPC_PORT": "9001"})


@pytest.mark.parametrize("text", ["", "[]", "1", "{}", '{"models": 1}', '{"models": [1]}'])
def test_what_is_no_manifest(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(InvalidConfig, match=r"manifest\.json"):
        read_image(str(path), {})


@pytest.mark.parametrize(("workers", "threads"), [(6, "1"), (2, "3"), (12, "1")])
def test_libraries_share_the_processors(
    manifest: str, monkeypatch: pytest.MonkeyPatch, workers: int, threads: str
) -> None:
    for name in standalone.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    share_processors(with_workers(manifest, workers))
    environment = standalone.os.environ
    assert [environment[name] for name in standalone.THREADS].count(threads) == 3
    assert environment["MKL_NUM_THREADS"] == "5"
    for name in standalone.THREADS:
        monkeypatch.setenv(name, "")  # so that it is undone


def with_workers(manifest: str, workers: int) -> Config:
    return read_image(manifest, {"MODELYARD_WORKERS": str(workers)})


def test_the_page_names_every_variable() -> None:
    source = Path(standalone.__file__).read_text()
    names = set(re.findall(r'"(MODELYARD_[A-Z_]+)"', source))
    assert names == set(re.findall(r"`(MODELYARD_[A-Z_]+)`", section("An image by itself")))


def section(title: str) -> str:
    return PAGE.read_text().split(f"## {title}")[1].split("\n## ")[0]
