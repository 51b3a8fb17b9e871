"""`image export`, `import`, `push` and `pull`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import FakeServer

NAME = "registry.example/team/digits:1"


@pytest.fixture(autouse=True)
def _image(run: Run, project: Path) -> None:
    run("model", "register", "digits", "model.pkl")
    run("image", "build", "digits", "--model", "digits")


@pytest.mark.parametrize(
    ("form", "place"),
    [("oci", "digits-1.tar"), ("docker", "digits-1.tar"), ("containerfile", "digits-1")],
)
def test_export_prints_the_path_alone(run: Run, project: Path, form: str, place: str) -> None:
    assert run("image", "export", "digits", "--format", form).stdout == f"{place}\n"
    assert (project / place).exists()


def test_export_as_json(run: Run, run_json: Callable[..., Any]) -> None:
    assert run_json("image", "export", "digits", "--to", "x.tar") == {
        "image": "digits:1", "format": "oci", "path": "x.tar",
    }  # fmt: skip


def test_export_refuses_a_file_that_is_there(run: Run, project: Path) -> None:
    (project / "x.tar").write_text("precious")
    shown = run("image", "export", "digits", "--to", "x.tar", code=1).stderr
    assert "x.tar" in shown
    run("image", "export", "digits", "--to", "x.tar", "--overwrite")


def test_import_prints_the_reference_alone(run: Run, server: FakeServer, project: Path) -> None:
    (project / "in.tar").write_bytes(b"archive")
    result = run("image", "import", "in.tar", "--name", "digits", "--tag", "a=b")
    assert result.stdout == "digits:1\n"
    assert server.sent("/images/imports")["tags"] == {"a": "b"}


def test_push_prints_the_name_by_digest(run: Run, run_json: Callable[..., Any]) -> None:
    result = run("image", "push", "digits", NAME)
    assert result.stdout == f"{NAME}@sha256:{'d' * 64}\n"
    assert "2.0 KiB sent" in result.stderr
    assert run_json("image", "push", "digits", NAME)["uploaded"] == 2048


def test_pull_prints_the_reference_alone(run: Run, server: FakeServer) -> None:
    assert run("image", "pull", NAME).stdout == "digits:1\n"
    assert server.sent("/images/pulls")["source"] == NAME
