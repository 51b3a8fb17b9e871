"""The target `container`: the same files, answers and care as on `local`, and real limits."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from tests.containers.podman import Podman
from tests.e2e.conftest import ROOT, build_breakable
from tests.integration.agent.fake_server import wait_for

import modelyard
from modelyard.domain.service import ServiceState

SERVICE_FILE = """
name: digits
model: digits.joblib
script: {script}
requirements: {requirements}
sample: {sample}
target: {target}
settings: {{cpu: 1, memory: 512MiB}}
"""


@pytest.fixture(scope="module")
def yard(podman: Podman) -> Iterator[modelyard.Client]:
    """A client of a server whose agent uses the engine of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="my-"))
    variables = {
        "HOME": str(folder),
        "MODELYARD_HOME": str(folder / "home"),
        "MODELYARD_SERVER_PORT": "0",
        "MODELYARD_GATEWAY_PORT": "0",
        "MODELYARD_WHEELS": str(ROOT / ".wheelhouse"),
        "MODELYARD_ENGINE": f"unix://{podman.socket}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with modelyard.connect() as client:
            yield client
            client.stop_server(everything=True)
    shutil.rmtree(folder, ignore_errors=True)
    assert containers(podman) == []


@pytest.fixture(scope="module")
def breakable(yard: modelyard.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Reference of an image with a script that breaks as it is told."""
    return build_breakable(yard, tmp_path_factory.mktemp("breakable"), "forty-two").reference


def containers(podman: Podman) -> list[str]:
    return podman.run("ps", "--all", "--format", "{{.Names}}").split()


def inspect(podman: Podman, service: str) -> dict[str, Any]:
    [name] = [name for name in containers(podman) if f"-{service}-" in name]
    [found] = json.loads(podman.run("inspect", name))
    assert isinstance(found, dict)
    return found


def test_one_word_chooses_the_target_and_answers_are_equal(
    yard: modelyard.Client, podman: Podman, tmp_path: Path
) -> None:
    images, digits = load_digits(return_X_y=True)
    forest = RandomForestClassifier(20, random_state=0).fit(images, digits)
    joblib.dump(forest, tmp_path / "digits.joblib")
    sample = images[:20].tolist()
    answers = {}
    for target in ("local", "container"):
        text = SERVICE_FILE.format(
            script=ROOT / "examples" / "01-digits" / "score.py",
            requirements=ROOT / "examples" / "01-digits" / "requirements.txt",
            sample=json.dumps(sample),
            target=target,
        )
        (tmp_path / "service.yaml").write_text(text)
        service = yard.deploy_file(tmp_path / "service.yaml").service
        assert service is not None
        assert service.target == target
        assert service.status.state is ServiceState.HEALTHY
        answers[target] = yard.services.score("digits", sample)
        assert bool(containers(podman)) is (target == "container")
        yard.services.delete("digits")
    assert answers["container"] == answers["local"]
    assert containers(podman) == []


def test_container_is_confined(yard: modelyard.Client, podman: Podman, breakable: str) -> None:
    yard.services.deploy("confined", breakable, target="container", cpu=0.5, memory=256 << 20)
    found = inspect(podman, "confined")
    host = found["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (256 << 20, 256 << 20)
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] == 2048
    assert host["ReadonlyRootfs"] is True
    assert host["NetworkMode"] == "none"
    assert found["EffectiveCaps"] in (None, [])
    assert "no-new-privileges" in host["SecurityOpt"]
    assert found["Config"]["User"] == "65532:65532"
    status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert "Uid:\t65532\t65532" in status
    yard.services.delete("confined")


def test_update_scale_and_delete(
    yard: modelyard.Client, podman: Podman, breakable: str, tmp_path: Path
) -> None:
    yard.services.deploy("moving", breakable, target="container")
    other = build_breakable(yard, tmp_path, "forty-three")
    yard.services.update("moving", image=other.reference)
    assert yard.services.score("moving", {})["answer"] == "forty-three"
    service = yard.services.scale("moving", 2)
    assert len(service.status.replicas) == 2
    assert all(replica.memory > 1 << 20 for replica in service.status.replicas)
    with pytest.raises(modelyard.DeployFailed) as failed:
        yard.services.update("moving", environment={"BREAK": "raise"})
    assert failed.value.details["cause"]["code"] == "init_raised"
    assert yard.services.score("moving", {})["answer"] == "forty-three"
    lines = wait_for(lambda: [line.text for line in yard.services.logs("moving")])
    assert any("started container modelyard-" in line for line in lines)
    yard.services.delete("moving")
    assert containers(podman) == []


def test_memory_limit_is_real_and_named(yard: modelyard.Client, breakable: str) -> None:
    with pytest.raises(modelyard.DeployFailed) as failed:
        yard.services.deploy(
            "hungry",
            breakable,
            target="container",
            memory=128 << 20,
            environment={"BREAK": "memory"},
        )
    cause = failed.value.details["cause"]
    assert cause["code"] == "out_of_memory"
    assert "128 MiB" in cause["message"]
    assert yard.services.why("hungry").code == "out_of_memory"
    yard.services.delete("hungry")


def test_without_an_engine_says_so(yard: modelyard.Client, podman: Podman, breakable: str) -> None:
    podman.kill()
    try:
        with pytest.raises(modelyard.DeployFailed) as failed:
            yard.services.deploy("nowhere", breakable, target="container")
    finally:
        podman.start()
    assert failed.value.details["cause"]["code"] == "no_engine"
    assert "podman" in failed.value.hint
    deadline = time.monotonic() + 60
    while yard.services.get("nowhere").status.state is not ServiceState.HEALTHY:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert yard.services.score("nowhere", {})["answer"] == "forty-two"
    yard.services.delete("nowhere")
