"""How an unpacked image is started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from modelyard.domain.cause import CauseCode
from modelyard.domain.image import Layer, LayerKind, Manifest, ModelMount, Platform
from modelyard.domain.model import ModelFormat
from modelyard.images.launch import (
    base_python,
    current_platform,
    replica_config,
    runtime_command,
    why_unsuitable,
)

DIGEST = f"sha256:{'0' * 64}"
LAYERS = {kind: Path("/layers") / kind for kind in LayerKind}


def manifest(**changes: object) -> Manifest:
    fields = {
        "platform": current_platform(),
        "python": base_python()[1],
        "script": "src/score.py",
        "models": (ModelMount(name="iris", version=3, path="iris/3"),),
        "lock": DIGEST,
        "layers": tuple(Layer(kind=kind, digest=DIGEST, size=1) for kind in LayerKind),
    }
    return Manifest.model_validate(fields | changes)


class TestRuntimeCommand:
    def command(self, cpu: float = 1.0, **environment: str) -> tuple[list[str], dict[str, str]]:
        return runtime_command(manifest(), LAYERS, cpu, environment, Path("/scratch"))

    def test_the_interpreter_behind_the_virtual_environment_runs_it_alone(self) -> None:
        command, environment = self.command()
        assert command == [str(base_python()[0]), "-s", "-S", "-P", "-m", "modelyard_runtime"]
        assert environment["PYTHONPATH"] == (
            "/layers/runtime/opt/modelyard/runtime:/layers/environment/opt/modelyard/environment"
        )
        assert environment["PYTHONDONTWRITEBYTECODE"] == "1"

    def test_nothing_of_our_own_environment_gets_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELYARD_TOKEN", "secret")
        monkeypatch.setenv("PYTHONSTARTUP", "/x.py")
        _, environment = self.command()
        assert "secret" not in environment.values()
        assert set(environment) == {
            "PATH", "HOME", "USER", "TMPDIR", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE",
            "PYTHONFAULTHANDLER", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
            "NUMEXPR_NUM_THREADS",
        }  # fmt: skip
        assert environment["HOME"] == environment["TMPDIR"] == "/scratch"
        assert environment["PATH"] == os.defpath

    @pytest.mark.parametrize(("cpu", "threads"), [(0.1, "1"), (1.0, "1"), (1.5, "2"), (4.0, "4")])
    def test_libraries_get_as_many_threads_as_cores(self, cpu: float, threads: str) -> None:
        _, environment = self.command(cpu)
        assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == threads

    def test_the_user_may_change_defaults_but_not_what_finds_the_code(self) -> None:
        _, environment = self.command(OMP_NUM_THREADS="7", GREETING="hi", PYTHONPATH="/evil")
        assert environment["OMP_NUM_THREADS"] == "7"
        assert environment["GREETING"] == "hi"
        assert "/evil" not in environment["PYTHONPATH"]


def test_the_configuration_has_what_the_runtime_reads() -> None:
    config = replica_config(
        manifest(),
        LAYERS,
        service="iris",
        workers=2,
        scoring_timeout=60.0,
        drain_timeout=5.0,
        sample=[[1.5]],
    )
    assert config == {
        "service": "iris",
        "workers": 2,
        "code": "/layers/code/opt/modelyard/code",
        "script": "src/score.py",
        "models_root": "/layers/model/opt/modelyard/models",
        "models": [{"name": "iris", "version": 3, "path": "iris/3"}],
        "scoring_timeout": 60.0,
        "drain_timeout": 5.0,
        "max_body": 100 << 20,
        "network": True,
        "sample": [[1.5]],
    }


def test_a_replica_without_a_script_is_told_what_its_model_is() -> None:
    mount = ModelMount(
        name="iris", version=3, path="iris/3", format=ModelFormat.JOBLIB, framework="scikit-learn"
    )
    alone = manifest(script=None, models=(mount,))
    config = replica_config(
        alone, LAYERS, service="x", workers=1, scoring_timeout=1.0, drain_timeout=1.0
    )
    assert config["script"] is None
    entry = {"name": "iris", "version": 3, "path": "iris/3"}
    assert config["models"] == [{**entry, "format": "joblib", "framework": "scikit-learn"}]


class TestSuitability:
    def test_an_image_built_here_runs_here(self) -> None:
        assert why_unsuitable(manifest()) is None

    @pytest.mark.parametrize(
        ("changes", "need"),
        [
            ({"platform": Platform(os="linux", architecture="riscv64")}, "linux/riscv64"),
            ({"platform": Platform(os="plan9", architecture="amd64")}, "plan9/amd64"),
            ({"python": "3.9"}, "Python 3.9"),
            ({"kind": "wasm"}, "`wasm`"),
        ],
    )
    def test_others_are_named_with_what_they_need(
        self, changes: dict[str, object], need: str
    ) -> None:
        cause = why_unsuitable(manifest(**changes))
        assert cause is not None
        assert cause.code is CauseCode.WRONG_PLATFORM
        assert need in cause.message

    @pytest.mark.parametrize(
        ("machine", "architecture"),
        [("x86_64", "amd64"), ("AMD64", "amd64"), ("aarch64", "arm64"), ("arm64", "arm64")],
    )
    def test_architectures_have_one_name(
        self, monkeypatch: pytest.MonkeyPatch, machine: str, architecture: str
    ) -> None:
        monkeypatch.setattr("platform.machine", lambda: machine)
        assert str(current_platform()) == f"{sys.platform}/{architecture}"
