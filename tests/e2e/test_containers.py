"""The target `container`: the same files, answers and care as on `local`, and real limits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import joblib
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from tests.containers.podman import Podman
from tests.containers.server import a_server, containers
from tests.e2e.conftest import ROOT, build_breakable

import modelyard
from modelyard.domain.service import Service, ServiceState

SERVICE_FILE = """
name: digits
model: digits.joblib
script: {script}
requirements: {requirements}
sample: {sample}
target: {target}
settings: {{cpu: 1, memory: 512MiB}}
"""

DOWNLOADS = """
import os, socket


def init():
    if "REACH" in os.environ:
        socket.create_connection(("192.0.2.1", 80), 1)


def run(data):
    return data
"""


@pytest.fixture(scope="module")
def yard(podman: Podman) -> Iterator[modelyard.Client]:
    with a_server(podman) as client:
        yield client
    assert containers(podman) == []


@pytest.fixture(scope="module")
def breakable(yard: modelyard.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Reference of an image with a script that breaks as it is told."""
    return build_breakable(yard, tmp_path_factory.mktemp("breakable"), "forty-two").reference


def inspect(podman: Podman, service: str) -> dict[str, Any]:
    [name] = [name for name in containers(podman) if f"-{service}-" in name]
    [found] = json.loads(podman.run("inspect", name))
    assert isinstance(found, dict)
    return found


def see_figures(yard: modelyard.Client, service: Service) -> None:
    """A replica's figures, which are in a file that its container shares, are told."""
    headers = {"authorization": f"Bearer {yard.services.keys(service.name).primary}"}
    page = str(service.scoring_uri).removesuffix("score") + "metrics"
    deadline = time.monotonic() + 60
    while 'protocol="score",status="200"' not in (
        text := httpx2.get(page, headers=headers, trust_env=False).text
    ):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


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
        see_figures(yard, service)
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


def test_a_download_needs_to_be_allowed(yard: modelyard.Client, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(DOWNLOADS)
    image = yard.images.build("hub", models=[], script=tmp_path / "score.py")
    with pytest.raises(modelyard.DeployFailed) as failed:
        yard.services.deploy(
            "hub", image.reference, target="container", environment={"REACH": "out"}
        )
    assert failed.value.details["cause"]["code"] == "network_not_allowed"
    yard.services.delete("hub")


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
