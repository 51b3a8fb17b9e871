"""Scripts on disk, and a process put back as it was after one has been loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard_runtime import compat
from modelyard_runtime.compat.finder import STAND_INS
from modelyard_runtime.config import Config, Model
from modelyard_runtime.entry import Entry
from modelyard_runtime.loading import load

Configure = Callable[..., Config]
Load = Callable[..., Entry]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """A configuration for a script, with the text of the script and of other files in `code`."""

    def configure(script: str = "", *, name: str = "score.py", **files: str) -> Config:
        code = tmp_path / "code"
        models = tmp_path / "models"
        model = models / "iris" / "3"
        model.mkdir(parents=True, exist_ok=True)
        (model / "weights.txt").write_text("42")
        for path, text in {name: script, **files}.items():
            (code / path).parent.mkdir(parents=True, exist_ok=True)
            (code / path).write_text(text)
        return Config(
            fd=0,
            workers=1,
            code=str(code),
            script=name,
            models_root=str(models),
            models=(Model("iris", "3", str(model)),),
            status=str(tmp_path / "status.json"),
            service="flowers",
            scoring_timeout=60.0,
            max_body=1000,
            drain_timeout=5.0,
        )

    return configure


@pytest.fixture
def load_script(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Load]:
    """Load a script as a replica does; the working directory, paths and modules are put back."""
    folder = os.getcwd()
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for variable in ("AZUREML_MODEL_DIR", "MODELYARD_MODEL_DIR"):
        monkeypatch.setenv(variable, "unset")
    for variable in compat.surroundings(configure()):
        monkeypatch.setenv(variable, "")  # so that it is put back as it is now: not there
        monkeypatch.delenv(variable)

    def load_script(script: str, **files: str) -> Entry:
        return load(configure(script, **files), lambda phase: None)

    yield load_script
    os.chdir(folder)
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    for name in STAND_INS:
        sys.modules.pop(name, None)
