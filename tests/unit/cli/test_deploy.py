from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import GATEWAY, FakeServer

from modelyard.errors import BuildFailed

DEPLOY = ("deploy", "digits", "--model", "model.pkl", "--script", "score.py")
DEPLOY += ("--requirements", "requirements.txt")


@pytest.fixture(autouse=True)
def _project(project: Path) -> None:
    pass


class TestDeploy:
    def test_ends_with_a_curl_line(self, run: Run) -> None:
        result = run(*DEPLOY, "--sample", "[[1, 2]]")
        assert shlex.split(result.stdout) == [
            "curl",
            "-sS",
            "-H",
            "Authorization: Bearer key-primary",
            "-H",
            "Content-Type: application/json",
            "--data",
            "[[1, 2]]",
            f"{GATEWAY}/services/digits/score",
        ]
        assert result.stdout.count("\n") == 1

    def test_tells_steps(self, run: Run) -> None:
        shown = run(*DEPLOY, "--sample", "[1]").stderr.splitlines()
        assert "model digits:1: registered (it is the first)" in shown
        assert "image digits:1: built" in shown
        assert "service digits: deployed" in shown
        shown = run(*DEPLOY, "--sample", "[1]").stderr.splitlines()
        assert "model digits:1: unchanged" in shown
        assert "service digits: unchanged" in shown

    def test_curl_line_of_an_open_service(self, run: Run) -> None:
        assert "Authorization" not in run(*DEPLOY, "--sample", "[1]", "--auth", "none").stdout

    def test_a_certificate_where_one_is_needed(self, run: Run, project: Path) -> None:
        done = run(*DEPLOY, "--sample", "[1]", "--auth", "cert")
        assert "--cert CLIENT.pem" in done.stdout
        assert "Authorization" not in done.stdout
        assert "`modelyard service certificates issue digits CLIENT`" in done.stderr

    def test_target_is_chosen_and_named(self, run: Run, server: FakeServer) -> None:
        run(*DEPLOY, "--target", "container")
        assert server.services["digits"]["target"] == "container"
        run(*DEPLOY, "--target", "container")
        assert "runs on `container`" in run(*DEPLOY, "--target", "local", code=1).stderr

    def test_curl_line_trusts_the_workspaces_own_authority(
        self, run: Run, server: FakeServer
    ) -> None:
        run(*DEPLOY, "--sample", "[1]")
        server.services["digits"]["scoring_uri"] = "https://127.0.0.1:7880/services/digits/score"
        assert "--cacert" not in run(*DEPLOY, "--sample", "[1]").stdout
        server.authority = "a certificate"
        result = run(*DEPLOY, "--sample", "[1]")
        assert "--cacert authority.pem" in result.stdout
        assert "`modelyard server authority > authority.pem`" in result.stderr

    def test_quotes_survive_the_shell(self, run: Run) -> None:
        line = run(*DEPLOY, "--sample", '{"a": "it\'s $HOME `x`"}').stdout
        assert shlex.split(line)[-2] == '{"a": "it\'s $HOME `x`"}'

    def test_without_a_sample_shows_what_the_service_takes(self, run: Run) -> None:
        result = run(*DEPLOY)
        assert result.stdout.strip().endswith("/services/digits/swagger.json")
        assert "--sample" in result.stderr

    def test_json(self, run_json: Callable[..., Any]) -> None:
        found = run_json(*DEPLOY, "--replicas", "2")
        assert [step["action"] for step in found["steps"]] == ["register", "build", "deploy"]
        assert found["service"]["settings"]["replicas"] == 2
        assert "key-primary" not in str(found)

    def test_options_of_the_build(self, run: Run, run_json: Callable[..., Any]) -> None:
        words = ("deploy", "fast", "--model", "model.pkl")
        words += ("--optimize", "--slim", "--allow-sources", "--platform", "linux/amd64")
        assert run_json(*words)["service"]["image"] == "fast:1"
        options = run_json("image", "show", "fast")["options"]
        assert options == {
            "optimize": True,
            "slim": True,
            "allow_sources": True,
            "platform": "linux/amd64",
        }
        assert "without a `script`" in run(*DEPLOY, "--optimize", code=1).stderr

    def test_several_models(self, run_json: Callable[..., Any], project: Path) -> None:
        (project / "encoder.pkl").touch()
        words = ["deploy", "digits", "--script", "score.py", "--model", "digits=model.pkl"]
        found = run_json(*words, "--model", "encoder=encoder.pkl")
        assert found["service"]["models"] == ["digits:1", "encoder:1"]

    def test_failed_build(self, run: Run, server: FakeServer) -> None:
        server.build_error = BuildFailed("no wheel", hint="pin it")
        result = run(*DEPLOY, code=1)
        assert result.stdout == ""
        assert result.stderr.endswith("error: no wheel\nhint: pin it\n")


class TestPlan:
    def test_shows_and_does_nothing(self, run: Run, server: FakeServer) -> None:
        shown = [line.split() for line in run(*DEPLOY, "--plan").stdout.splitlines()]
        assert shown == [
            ["ACTION", "KIND", "NAME", "BECAUSE"],
            ["register", "model", "digits", "it", "is", "the", "first"],
            ["build", "image", "digits"],
            ["deploy", "service", "digits"],
        ]
        assert server.services == {}

    def test_json(self, run: Run, run_json: Callable[..., Any]) -> None:
        run(*DEPLOY, "--sample", "[1]")
        found = run_json(*DEPLOY, "--sample", "[1]", "--replicas", "3", "--plan")
        assert found["planned"] is True
        assert found["steps"][2]["changes"] == ["replicas 1 → 3"]


class TestWithoutScript:
    def test_the_service_takes_the_name_of_the_model_file(
        self, run_json: Callable[..., Any], project: Path
    ) -> None:
        (project / "My_model.onnx").write_bytes(b"model")
        found = run_json("deploy", "My_model.onnx")
        assert found["service"]["name"] == "my-model"
        assert found["service"]["models"] == ["my-model:1"]

    def test_a_name_and_a_model_will_do(self, run_json: Callable[..., Any]) -> None:
        assert run_json("deploy", "digits", "--model", "model.pkl")["service"]["name"] == "digits"

    def test_a_file_that_makes_no_name_needs_one(self, run: Run, project: Path) -> None:
        (project / "1.onnx").write_bytes(b"model")
        assert "give one, and --model 1.onnx" in run("deploy", "1.onnx", code=2).stderr

    @pytest.mark.parametrize("path", ["nofile.pkl", "out/model"])
    def test_a_file_that_is_not_there_is_named(self, run: Run, path: str) -> None:
        shown = run("deploy", path, code=1).stderr
        assert f"there is no file {path}" in shown
        assert "--model or --script" in shown


class TestServiceFile:
    def test_deploys(self, run: Run, project: Path) -> None:
        (project / "service.yaml").write_text(
            "name: digits\nmodel: model.pkl\nscript: score.py\nsample: [1]\n"
        )
        assert run("deploy", "-f", "service.yaml").stdout.startswith("curl ")

    def test_wrong_field(self, run: Run, project: Path) -> None:
        (project / "service.yaml").write_text("name: digits\nscript: score.py\ncolour: red\n")
        shown = run("deploy", "-f", "service.yaml", code=1).stderr
        assert "`colour`: there is no such field" in shown

    @pytest.mark.parametrize("words", [("digits",), ("--replicas", "2"), ("--model", "m.pkl")])
    def test_stands_alone(self, run: Run, words: tuple[str, ...]) -> None:
        run("deploy", "-f", "service.yaml", *words, code=2)


@pytest.mark.parametrize("words", [(), ("digits",), ("--script", "score.py")])
def test_name_and_model_or_script_are_needed(run: Run, words: tuple[str, ...]) -> None:
    assert "--script" in run("deploy", *words, code=2).stderr
