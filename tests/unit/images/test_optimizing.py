"""What a search left behind is read as a stranger's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.images import optimizing
from modelyard.images.optimizing import Conversion, _read_all

REPORT = '{"kept": "ONNX", "candidates": [{"name": "ONNX", "speed": {"single": 1, "batched": 1}}]}'


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "report.json").write_text(REPORT)
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "interface.json").write_bytes(b"{}")
    return tmp_path


def refused(out: Path) -> Conversion:
    found = _read_all(out)
    assert found.files is None
    assert found.optimization.kept is None
    assert found.optimization.problem.startswith("the search left nothing behind")
    return found


def test_what_is_kept_comes_with_its_files(out: Path) -> None:
    found = _read_all(out)
    assert found.files == {"model.onnx": b"graph", "interface.json": b"{}"}
    assert found.optimization.kept == "ONNX"


def test_a_report_that_keeps_nothing_brings_no_files(out: Path) -> None:
    (out / "report.json").write_text('{"kept": null, "candidates": []}')
    assert _read_all(out).files is None


def test_a_report_that_cannot_be_read(out: Path) -> None:
    for text in ("", "[]", "{", '{"candidates": [{"name": "x", "speed": {"single": -1}}]}'):
        (out / "report.json").write_text(text)
        refused(out)


def test_a_file_that_is_not_there(out: Path) -> None:
    (out / "model.onnx").unlink()
    refused(out)


def test_a_link_is_not_followed(out: Path) -> None:
    (out / "model.onnx").unlink()
    (out / "model.onnx").symlink_to("/etc/passwd")
    refused(out)


def test_a_pipe_is_not_waited_for(out: Path) -> None:
    (out / "model.onnx").unlink()
    os.mkfifo(out / "model.onnx")
    refused(out)


def test_a_file_that_is_too_large(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizing, "_LARGEST_FILE", 4)
    assert "at most 4 bytes" in refused(out).optimization.problem
