"""The stand-ins, installed for one test, and the process put back as it was."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard_runtime import compat
from modelyard_runtime.compat.finder import STAND_INS, Finder
from modelyard_runtime.config import Model

Provide = Callable[..., None]


@pytest.fixture
def provide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provide]:
    """Install the stand-ins for models, given as `name:version` and the files of each."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    known = set(sys.modules)

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
    roots = {name.partition(".")[0] for name in STAND_INS} | {"sklearn.externals.joblib"}
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in roots or name.startswith("sklearn.externals.joblib"):
            del sys.modules[name]
    assert not any(isinstance(finder, Finder) for finder in sys.meta_path[:-1])
