from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import SBOM, FakeServer

from modelyard.errors import BuildFailed
from modelyard.images.signing import parse_public_key

BUILD = ("image", "build", "digits", "--model", "digits", "--script", "score.py")


@pytest.fixture(autouse=True)
def _model(run: Run, project: Path) -> None:
    run("model", "register", "digits", "model.pkl")


class TestBuild:
    def test_prints_the_reference_alone(self, run: Run) -> None:
        result = run(*BUILD, "--requirements", "requirements.txt")
        assert result.stdout == "digits:1\n"
        assert "build: resolving" in result.stderr
        assert "built digits:1" in result.stderr

    def test_asks_for_a_faster_form_only_when_told(self, run: Run, server: FakeServer) -> None:
        run("image", "build", "digits", "--model", "digits", "--optimize")
        run(*BUILD)
        sent = [json.loads(request.content) for request in server.asked("POST", ".*/images")]
        assert [body.get("optimize") for body in sent] == [True, None]

    def test_does_not_wait(self, run: Run, run_json: Callable[..., Any]) -> None:
        assert run_json(*BUILD, "--no-wait")["state"] == "Running"

    def test_failure_shows_the_cause(self, run: Run, server: FakeServer) -> None:
        cause = {"code": "init_raised", "message": "m", "evidence": ["ValueError: no"]}
        server.build_error = BuildFailed("init() raised", hint="mend it", details={"cause": cause})
        shown = run(*BUILD, code=1).stderr.splitlines()
        assert shown[-3:] == ["error: init() raised", "  ValueError: no", "hint: mend it"]

    def test_script_is_optional(self, run: Run, run_json: Callable[..., Any]) -> None:
        words = list(BUILD)
        at = words.index("--script")
        del words[at : at + 2]
        assert run_json(*words)["script"] is None
        assert "none: the model's own methods" in run("image", "show", "digits").stdout


class TestOne:
    @pytest.fixture(autouse=True)
    def _image(self, run: Run) -> None:
        run(*BUILD)

    def test_verify_says_what_was_looked_at(self, run: Run, run_json: Callable[..., Any]) -> None:
        shown = run("image", "verify", "digits")
        assert [line.split()[:3] for line in shown.stdout.splitlines()] == [
            ["ok", "layer", "code"],
            ["ok", "layer", "model"],
        ]
        assert "digits:1 is intact" in shown.stderr
        assert run_json("image", "verify", "digits")["intact"] is True

    def test_verify_fails_when_something_is_wrong(self, run: Run, server: FakeServer) -> None:
        server.spoiled = True
        shown = run("image", "verify", "digits", code=1)
        assert "WRONG  layer model  " in shown.stdout
        assert "it is not stored" in shown.stdout
        assert "digits:1 is not intact: 1 of 2 parts is wrong" in shown.stderr
        found = json.loads(run("image", "verify", "digits", "-o", "json", code=1).stdout)
        assert [part["problem"] for part in found["parts"]] == [None, "it is not stored"]

    def test_sbom_goes_into_a_file_as_it_was_signed(self, run: Run) -> None:
        assert run("image", "sbom", "digits").stdout_bytes == SBOM
        assert run("image", "sbom", "digits", "-o", "json").stdout_bytes == SBOM

    def test_list(self, run: Run, run_json: Callable[..., Any]) -> None:
        assert run("image", "list").stdout.splitlines()[1].split()[:3] == [
            "digits:1",
            "Succeeded",
            "digits:1",
        ]
        assert run_json("image", "list", "--model", "digits")[0]["version"] == 1

    def test_show(self, run: Run, server: FakeServer, run_json: Callable[..., Any]) -> None:
        shown = run("image", "show", "digits").stdout
        assert "cold start" in shown
        assert "linux/amd64, Python 3.11" in shown
        assert run_json("image", "show", "digits")["name"] == "digits"

    def test_show_failed(self, run: Run, server: FakeServer) -> None:
        cause = {"code": "no_wheel", "message": "no wheel", "evidence": ["pkg"], "fix": "pin it"}
        server.images["digits"][0] |= {"state": "Failed", "cause": cause, "check": None}
        shown = run("image", "show", "digits").stdout
        assert "no wheel" in shown
        assert "pin it" in shown

    def test_log(self, run: Run) -> None:
        assert run("image", "log", "digits").stdout.splitlines() == [
            "2026-03-01 12:00:00  build  resolving",
            "2026-03-01 12:00:00  build  starting",
        ]
        lines = run("image", "log", "digits", "-o", "json").stdout.splitlines()
        assert [json.loads(line)["sequence"] for line in lines] == [1, 2]

    def test_tag_and_delete(self, run: Run, run_json: Callable[..., Any]) -> None:
        assert run("image", "tag", "digits", "a=b").stdout == "tags  a=b\n"
        assert run_json("image", "delete", "digits", "--yes") == {"deleted": "digits:1"}


def test_key_is_printed_as_a_file_has_it(run: Run, run_json: Callable[..., Any]) -> None:
    printed = run("image", "key").stdout
    assert printed.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert run_json("image", "key") == parse_public_key(printed.encode()).model_dump(mode="json")
