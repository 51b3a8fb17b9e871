from __future__ import annotations

from tests.unit.runtime.conftest import configure, load_script

__all__ = ["configure", "load_script"]
