"""`modelyard deploy`: from files to a line that scores, and only what differs after that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.conftest import build_breakable

import modelyard
from modelyard import Action

COMMAND = [sys.executable, "-m", "modelyard.cli"]
SCRIPT = """
import os, util

def init():
    global answer
    with open(os.path.join(os.environ["MODELYARD_MODEL_DIR"], "answer.txt")) as file:
        answer = file.read()

def run(data: list):
    return {"answer": answer, "count": util.count(data)}
"""
SERVICE_FILE = """
name: one-command
model: model
script: src/score.py
files: [src/util.py]
sample: [1, 2]
settings: {memory: 256MiB}
"""


@pytest.fixture(scope="module")
def project(yard: modelyard.Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name, content in {
        "model/answer.txt": "forty-two",
        "src/score.py": SCRIPT,
        "src/util.py": "count = len\n",
        "service.yaml": SERVICE_FILE,
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


def run(*words: str, folder: Path) -> str:
    done = subprocess.run(
        [*COMMAND, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plan(yard: modelyard.Client, project: Path) -> list[Action]:
    done = yard.deploy_file(project / "service.yaml", plan=True)
    return [step.action for step in done.steps]


def test_one_command(yard: modelyard.Client, project: Path) -> None:
    assert plan(yard, project) == [Action.REGISTER, Action.BUILD, Action.DEPLOY]
    line = run("deploy", "-f", "service.yaml", folder=project)
    assert line.startswith("curl ")
    answer = subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout
    assert json.loads(answer) == {"answer": "forty-two", "count": 2}

    assert plan(yard, project) == [Action.KEEP] * 3
    assert run("deploy", "-f", "service.yaml", folder=project) == line
    assert yard.services.get("one-command").generation == 1

    (project / "src" / "util.py").write_text("count = sum\n")
    assert plan(yard, project) == [Action.KEEP, Action.BUILD, Action.UPDATE]
    done = yard.deploy_file(project / "service.yaml")
    assert [step.action for step in done.steps] == [Action.KEEP, Action.BUILD, Action.UPDATE]
    assert yard.services.score("one-command", [1, 2]) == {"answer": "forty-two", "count": 3}

    (project / "model" / "answer.txt").write_text("forty-three")
    done = yard.deploy_file(project / "service.yaml")
    assert [step.reference for step in done.steps] == ["one-command:2", "one-command:3", None]
    assert yard.services.score("one-command", [])["answer"] == "forty-three"

    assert run("why", "one-command", folder=project) == "one-command is ready: nothing is wrong\n"
    run("service", "delete", "one-command", "--yes", folder=project)


def test_a_split_is_reached_kept_and_ended(yard: modelyard.Client, tmp_path: Path) -> None:
    first, second = (build_breakable(yard, tmp_path, one).reference for one in ("one", "two"))
    file = tmp_path / "service.yaml"

    def apply(split: str) -> str:
        file.write_text(f"name: shared\nsplit: {{{split}}}\nsettings: {{auth: none}}\n")
        done = subprocess.run(
            [*COMMAND, "deploy", "-f", file], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    both = f"{first}: 50%, {second}: 50%"
    assert "service shared: deployed" in apply(both)
    answers = {yard.services.score("shared", {})["answer"] for _ in range(50)}
    assert answers == {"one", "two"}
    generation = yard.services.get("shared").generation
    assert "service shared: unchanged" in apply(both)
    assert yard.services.get("shared").generation == generation

    shown = apply(f"{second}: 100%")
    assert f"updated (traffic {first} 50 %, {second} 50 % → {second})" in shown
    assert {yard.services.score("shared", {})["answer"] for _ in range(10)} == {"two"}
    yard.services.delete("shared")
