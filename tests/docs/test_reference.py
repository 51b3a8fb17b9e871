"""The reference pages are what the code says now: an undocumented thing fails here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        "reference", ROOT / "scripts" / "reference.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


GENERATOR = _generator()


@pytest.mark.parametrize("page", GENERATOR.PAGES)
def test_page_is_current(page: str) -> None:
    written = (ROOT / "docs" / "reference" / page).read_text()
    assert written == GENERATOR.PAGES[page](), "run: python scripts/reference.py"
