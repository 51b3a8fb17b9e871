from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import FakeServer


@pytest.fixture
def model(run: Run, project: Path) -> str:
    return run("model", "register", "digits", "model.pkl", "--tag", "stage=a").stdout.strip()


class TestRegister:
    def test_prints_the_reference_alone(self, run: Run, project: Path) -> None:
        result = run("model", "register", "digits", "model.pkl")
        assert result.stdout == "digits:1\n"
        assert "registered digits:1: pickle, 7 B" in result.stderr

    def test_sends_everything(self, run_json: Callable[..., Any], project: Path) -> None:
        (project / "sample.json").write_text("[[1]]")
        words = ["--tag", "a=b", "--tag", "bare", "--property", "c=d=e", "--description", "text"]
        words += ["--framework", "scikit-learn", "--framework-version", "1.9"]
        found = run_json(
            "model", "register", "digits", "model.pkl", *words, "--sample", "@sample.json"
        )
        assert found["tags"] == {"a": "b", "bare": ""}
        assert found["properties"] == {"c": "d=e"}
        assert (found["framework"], found["framework_version"]) == ("scikit-learn", "1.9")
        assert (found["description"], found["sample_input"]) == ("text", [[1]])

    def test_reads_stdin(self, run: Run, server: FakeServer, project: Path) -> None:
        run("model", "register", "digits", "-", "--file-name", "m.pkl", stdin="bytes")
        assert server.models["digits"][0]["files"][0]["path"] == "m.pkl"
        assert b"bytes" in server.blobs.values()

    def test_missing_file(self, run: Run, project: Path) -> None:
        result = run("model", "register", "digits", "nothing.pkl", code=1)
        assert result.stderr.splitlines()[-2:] == [
            "error: cannot read `nothing.pkl`: No such file or directory",
            "hint: give the path of an existing file or folder",
        ]

    @pytest.mark.parametrize("sample", ["{", "@missing.json"])
    def test_wrong_sample_is_wrong_usage(self, run: Run, project: Path, sample: str) -> None:
        run("model", "register", "digits", "model.pkl", "--sample", sample, code=2)


class TestFind:
    def test_list(self, run: Run, model: str) -> None:
        header, row = run("model", "list").stdout.splitlines()
        assert header.split("  ")[0] == "MODEL"
        assert row.split()[:2] == ["digits:1", "pickle"]
        assert row.endswith("stage=a")

    def test_list_json(self, run_json: Callable[..., Any], model: str) -> None:
        assert [found["name"] for found in run_json("model", "list")] == ["digits"]

    def test_filters(self, run: Run, server: FakeServer) -> None:
        words = ["--name", "digits", "--version", "3", "--tag", "a", "--tag", "b=c"]
        words += ["--property", "p", "--framework", "f", "--text", "t", "--limit", "5"]
        run("model", "list", *words, "--created-after", "2026-01-01")
        query = server.requests[-1].url.params
        assert query.get_list("tag") == ["a", "b=c"]
        assert (query["name"], query["version"], query["framework"]) == ("digits", "3", "f")
        assert query["created_after"].startswith("2026-01-01T")
        assert len(query["created_after"]) > len("2026-01-01T00:00:00")  # has a zone

    def test_show(self, run: Run, run_json: Callable[..., Any], model: str) -> None:
        shown = run("model", "show", "digits").stdout
        assert "model       digits:1\n" in shown
        assert "file        model.pkl  7 B\n" in shown
        assert run_json("model", "show", "digits:1")["version"] == 1

    def test_show_names_what_loading_it_would_import(
        self, run: Run, server: FakeServer, model: str
    ) -> None:
        names = [f"a.n{number:02}" for number in range(52)]
        server.models["digits"][0]["imports"] = {"names": names, "complete": False}
        shown = [
            line.split(maxsplit=1) for line in run("model", "show", "digits").stdout.split("\n")
        ]
        listed = [line[1] for line in shown if line and line[0] == "imports"]
        assert listed[:50] == names[:50]
        assert listed[50:] == [
            "… and 2 more; `-o json` shows all",
            "… and maybe others: not all could be read",
        ]

    def test_show_unknown(self, run: Run) -> None:
        assert "not found" in run("model", "show", "digits", code=1).stderr


class TestDownload:
    def test_prints_the_folder(self, run: Run, model: str, project: Path) -> None:
        assert run("model", "download", "digits").stdout == "digits-1\n"
        assert (project / "digits-1" / "model.pkl").read_bytes() == b"\x80\x04model"

    def test_into_a_folder(
        self, run: Run, run_json: Callable[..., Any], model: str, project: Path
    ) -> None:
        (project / "there").mkdir()
        assert "exists already" in run("model", "download", model, "--to", "there", code=1).stderr
        found = run_json("model", "download", model, "--to", "there", "--overwrite")
        assert found == {"model": "digits:1", "folder": "there"}


class TestTag:
    def test_changes(self, run: Run, run_json: Callable[..., Any], model: str) -> None:
        assert run("model", "tag", model, "b=c", "--remove", "stage").stdout == "tags  b=c\n"
        found = run_json("model", "tag", model, "d", "--replace", "--property", "p=q")
        assert (found["tags"], found["properties"]) == ({"d": ""}, {"p": "q"})

    def test_nothing_to_do(self, run: Run, model: str) -> None:
        assert "nothing to do" in run("model", "tag", model, code=2).stderr


class TestDelete:
    def test_asks_nobody_in_a_script(self, run: Run, model: str) -> None:
        assert "say --yes" in run("model", "delete", model, code=2).stderr

    def test_delete(self, run: Run, run_json: Callable[..., Any], model: str) -> None:
        assert run_json("model", "delete", "digits", "--yes") == {"deleted": "digits:1"}
        run("model", "show", "digits", code=1)

    def test_in_use(self, run: Run, server: FakeServer, model: str) -> None:
        server.used_models = {model}
        assert "  image digits:1\n" in run("model", "delete", model, "--yes", code=1).stderr


def test_control_characters_are_escaped(run: Run, server: FakeServer, model: str) -> None:
    server.models["digits"][0]["description"] = "\x1b[2J\nowned"
    server.models["digits"][0]["tags"] = {"\x07": "\x9b"}
    for words in (("list",), ("show", model)):
        shown = run("model", *words).stdout
        assert "\x1b" not in shown
        assert "\x9b" not in shown
    assert "\x1b" not in json.dumps(run("model", "show", model, "-o", "json").stdout)
