"""Programs for what is costly: processes that see nothing of the server's secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard.control import programs
from modelyard.domain.quality import AskQuality


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where modules are found."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_a_program_sees_no_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "GOOGLE_KEY", "MODELYARD_TOKEN"):
        monkeypatch.setenv(name, "canary")
    (folder / "telling.py").write_text(
        "import json, os, sys\n"
        "print(json.dumps([dict(os.environ), sys.argv[1:], json.load(sys.stdin)]))\n"
    )
    job = AskQuality()
    done = programs.run("telling", "it", job=job, patience=60)
    assert done is not None
    assert b"canary" not in done.stdout
    environment, arguments, told = json.loads(done.stdout)
    assert environment["PYTHONPATH"] == str(folder)
    assert (arguments, told) == (["it"], job.model_dump(mode="json"))


def test_a_program_has_last_words(folder: Path) -> None:
    (folder / "failing.py").write_text("import sys\nsys.exit('first\\nthe reason')\n")
    (folder / "silent.py").write_text("raise SystemExit(3)\n")
    (folder / "slow.py").write_text("import threading\nthreading.Event().wait()\n")
    failed = programs.run("failing", job=AskQuality(), patience=60)
    silent = programs.run("silent", job=AskQuality(), patience=60)
    assert failed is not None
    assert silent is not None
    assert (programs.last_words(failed), programs.last_words(silent)) == ("the reason", "status 3")
    assert programs.run("slow", job=AskQuality(), patience=0.2) is None
