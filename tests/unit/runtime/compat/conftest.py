"""The stand-ins, installed for one test, and the process put back as it was."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard_runtime import compat
from modelyard_runtime.compat.finder import STAND_INS
from modelyard_runtime.config import Model

OLD_JOBLIB = "sklearn.externals.joblib"
Provide = Callable[..., None]


@pytest.fixture
def provide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provide]:
    """Install the stand-ins for models, given as `name:version` and the files of each."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))

    def provide(**models: list[str]) -> None:
        found = []
        for reference, files in models.items():
            name, _, version = reference.rpartition("_")
            folder = tmp_path / "models" / name / version
            folder.mkdir(parents=True)
            for file in files:
                (folder / file).parent.mkdir(exist_ok=True)
                (folder / file).write_text("")
            found.append(Model(name, version, str(folder)))
        compat.install(str(tmp_path / "models"), found)

    provide()
    yield provide
    for name in [*STAND_INS, *(name for name in sys.modules if name.startswith(OLD_JOBLIB))]:
        sys.modules.pop(name, None)
